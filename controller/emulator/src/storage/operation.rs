//! Which operation of S3 a request line asks for, as faults name them.

use http::request::Parts;

/// The operation's name without its service; `None` for what is not served.
pub(super) fn of(parts: &Parts) -> Option<&'static str> {
    let query = parts.uri.query().unwrap_or_default();
    let names: Vec<&str> = query
        .split('&')
        .map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name))
        .filter(|name| !name.is_empty())
        .collect();
    let asks = |name: &str| names.contains(&name);
    let path = parts.uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let method = parts.method.as_str();
    Some(match (bucket.is_empty(), key.is_empty()) {
        (true, _) => return (method == "GET").then_some("ListBuckets"),
        (_, true) => match method {
            "PUT" => "CreateBucket",
            "DELETE" => "DeleteBucket",
            "HEAD" => "HeadBucket",
            "GET" if asks("location") => "GetBucketLocation",
            "GET" if asks("uploads") => "ListMultipartUploads",
            "GET" if asks("list-type") => "ListObjectsV2",
            "GET" => "ListObjects",
            "POST" if asks("delete") => "DeleteObjects",
            _ => return None,
        },
        _ => match method {
            "PUT" if asks("partNumber") => "UploadPart",
            "PUT" if parts.headers.contains_key("x-amz-copy-source") => "CopyObject",
            "PUT" => "PutObject",
            "GET" if asks("uploadId") => "ListParts",
            "GET" => "GetObject",
            "HEAD" => "HeadObject",
            "DELETE" if asks("uploadId") => "AbortMultipartUpload",
            "DELETE" => "DeleteObject",
            "POST" if asks("uploads") => "CreateMultipartUpload",
            "POST" if asks("uploadId") => "CompleteMultipartUpload",
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::OPERATIONS;

    #[test]
    fn requests_ask_for_what_faults_name() {
        for (line, wanted) in [
            ("GET /", Some("ListBuckets")),
            ("PUT /b", Some("CreateBucket")),
            ("PUT /b/", Some("CreateBucket")),
            ("GET /b?list-type=2&prefix=location", Some("ListObjectsV2")),
            ("GET /b?location", Some("GetBucketLocation")),
            ("POST /b?delete", Some("DeleteObjects")),
            ("PUT /b/k/location?x=uploads", Some("PutObject")),
            ("PUT /b/k?partNumber=1&uploadId=u", Some("UploadPart")),
            ("POST /b/k?uploads=", Some("CreateMultipartUpload")),
            ("POST /b/k?uploadId=u", Some("CompleteMultipartUpload")),
            ("DELETE /b/k?uploadId=u", Some("AbortMultipartUpload")),
            ("POST /", None),
            ("PATCH /b/k", None),
        ] {
            let (method, uri) = line.split_once(' ').expect("two words");
            let request = http::Request::builder().method(method).uri(uri).body(());
            let found = of(&request.expect("a request").into_parts().0);
            assert_eq!(found, wanted, "{line}");
            if let Some(found) = found {
                assert!(OPERATIONS.contains(&format!("s3.{found}").as_str()), "{found}");
            }
        }
    }
}
