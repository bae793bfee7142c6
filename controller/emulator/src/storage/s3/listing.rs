//! Pages of a bucket's objects.

use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass, Owner,
};
use s3s::{S3Request, S3Result, s3_error};

use super::{Buckets, signed, strong, time};
use crate::storage::access::read;
use crate::world::storage::StoredObject;
use crate::world::storage::listing::{ListQuery, Page, Place};

/// Entries of one page: S3's bound, and its default.
const PAGE_MAX: i32 = 1_000;

impl Buckets {
    pub(super) async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<ListObjectsV2Output> {
        let input = request.input;
        let after = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Some(place_of(token)?),
            (None, Some(key)) => Some(Place::Key(key.clone())),
            (None, None) => None,
        };
        let (page, limit) = self.page(
            &input.bucket,
            input.prefix.clone(),
            input.delimiter.clone(),
            after,
            input.max_keys,
        )?;
        let shown = Shown::new(input.encoding_type.as_ref())?;
        let owner = input.fetch_owner == Some(true);
        let rows = page.objects.iter().map(|object| shown.object(object, owner));
        let contents: Vec<Object> = rows.collect::<S3Result<_>>()?;
        let prefixes = shown.prefixes(&page);
        let count = i32::try_from(contents.len() + prefixes.len());
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix.map(|prefix| shown.text(&prefix)),
            delimiter: input.delimiter.map(|delimiter| shown.text(&delimiter)),
            start_after: input.start_after.map(|key| shown.text(&key)),
            max_keys: Some(limit),
            key_count: Some(count.map_err(|error| s3_error!(error, InternalError))?),
            is_truncated: Some(page.next.is_some()),
            continuation_token: input.continuation_token,
            next_continuation_token: page.next.as_ref().map(token),
            contents: Some(contents),
            common_prefixes: Some(prefixes),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        })
    }

    /// The list of before: its marker is the last key or prefix itself.
    pub(super) async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<ListObjectsOutput> {
        let input = request.input;
        let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
        let after = input.marker.clone().map(|marker| match &delimiter {
            Some(delimiter) if marker.ends_with(delimiter.as_str()) => Place::Prefix(marker),
            _ => Place::Key(marker),
        });
        let (page, limit) =
            self.page(&input.bucket, input.prefix.clone(), delimiter, after, input.max_keys)?;
        let shown = Shown::new(input.encoding_type.as_ref())?;
        let rows = page.objects.iter().map(|object| shown.object(object, true));
        let contents: Vec<Object> = rows.collect::<S3Result<_>>()?;
        let next = page.next.as_ref().map(|(Place::Key(text) | Place::Prefix(text))| text);
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: input.prefix.map(|prefix| shown.text(&prefix)),
            delimiter: input.delimiter.map(|delimiter| shown.text(&delimiter)),
            marker: input.marker.map(|marker| shown.text(&marker)),
            next_marker: next.map(|next| shown.text(next)),
            max_keys: Some(limit),
            is_truncated: Some(page.next.is_some()),
            common_prefixes: Some(shown.prefixes(&page)),
            contents: Some(contents),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        })
    }

    fn page(
        &self,
        bucket: &str,
        prefix: Option<String>,
        delimiter: Option<String>,
        after: Option<Place>,
        most: Option<i32>,
    ) -> S3Result<(Page, i32)> {
        let most = most.unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let limit = usize::try_from(most);
        let limit = limit.map_err(|_| s3_error!(InvalidArgument, "max-keys: a number from 0"))?;
        let query = ListQuery {
            prefix: prefix.unwrap_or_default(),
            delimiter: delimiter.unwrap_or_default(),
            after,
            limit,
        };
        Ok((read(&self.engine, |world| world.list_objects(bucket, &query))?, most))
    }
}

/// How texts of callers are written: XML cannot hold every one.
struct Shown {
    escaped: bool,
}

impl Shown {
    fn new(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self { escaped: false }),
            Some(EncodingType::URL) => Ok(Self { escaped: true }),
            Some(_) => {
                Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request"))
            }
        }
    }

    fn text(&self, text: &str) -> String {
        if self.escaped { escaped(text) } else { text.to_owned() }
    }

    fn prefixes(&self, page: &Page) -> Vec<CommonPrefix> {
        let prefixes = page.prefixes.iter();
        prefixes.map(|prefix| CommonPrefix { prefix: Some(self.text(prefix)) }).collect()
    }

    fn object(&self, object: &StoredObject, owner: bool) -> S3Result<Object> {
        let whose = Owner { id: Some(object.org.clone()), display_name: Some(object.org.clone()) };
        Ok(Object {
            key: Some(self.text(&object.key)),
            e_tag: Some(strong(&object.content.etag)),
            last_modified: Some(time(object.updated_at)),
            size: Some(signed(object.content.size)?),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            owner: owner.then_some(whose),
            ..Object::default()
        })
    }
}

/// A text with everything escaped that means something in a URL, but slashes.
pub(in crate::storage) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// A place as an opaque text.
fn token(place: &Place) -> String {
    let text = match place {
        Place::Key(key) => format!("k{key}"),
        Place::Prefix(prefix) => format!("p{prefix}"),
    };
    data_encoding::BASE64URL_NOPAD.encode(text.as_bytes())
}

fn place_of(token: &str) -> S3Result<Place> {
    let bytes = data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    match text.split_at_checked(1) {
        Some(("k", key)) => Ok(Place::Key(key.to_owned())),
        Some(("p", prefix)) => Ok(Place::Prefix(prefix.to_owned())),
        _ => Err(s3_error!(InvalidArgument, "The continuation token provided is incorrect")),
    }
}
