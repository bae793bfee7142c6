//! Checksums that callers send with bodies, in headers or behind the body, and what comes of them.

use std::collections::BTreeMap;

use s3s::checksum::ChecksumHasher;
use s3s::dto::Checksum;
use s3s::{S3Request, S3Result, s3_error};

/// The algorithms, by the end of their headers `x-amz-checksum-…`.
const ALGORITHMS: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];

/// Checksums under way.
pub(super) struct Checksums {
    hasher: ChecksumHasher,
    /// What the headers say, by algorithm.
    told: BTreeMap<&'static str, String>,
}

impl Checksums {
    /// What a request announces: in a header, behind the body, or by the algorithm alone.
    pub(super) fn of<T>(request: &S3Request<T>) -> S3Result<Self> {
        let header = |name: &str| {
            let value = request.headers.get(name).map(|value| value.to_str());
            value.transpose().map_err(|_| s3_error!(InvalidRequest, "{name} is no text"))
        };
        let mut told = BTreeMap::new();
        let mut wanted = Vec::new();
        let behind = header("x-amz-trailer")?.unwrap_or_default().to_ascii_lowercase();
        let named = header("x-amz-sdk-checksum-algorithm")?.unwrap_or_default();
        for algorithm in ALGORITHMS {
            let name = format!("x-amz-checksum-{algorithm}");
            if let Some(value) = header(&name)? {
                told.insert(algorithm, value.to_owned());
                wanted.push(algorithm);
            } else if behind.split(',').any(|behind| behind.trim() == name)
                || named.eq_ignore_ascii_case(algorithm)
            {
                wanted.push(algorithm);
            }
        }
        fn one<H: Default>(is_wanted: bool) -> Option<H> {
            is_wanted.then(H::default)
        }
        let is = |algorithm| wanted.contains(&algorithm);
        let hasher = ChecksumHasher {
            crc32: one(is("crc32")),
            crc32c: one(is("crc32c")),
            crc64nvme: one(is("crc64nvme")),
            sha1: one(is("sha1")),
            sha256: one(is("sha256")),
        };
        Ok(Self { hasher, told })
    }

    /// Takes a piece of the body.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Compares what was told, also behind the body, with what is.
    pub(super) fn finish(
        mut self,
        trailers: Option<&s3s::TrailingHeaders>,
    ) -> S3Result<BTreeMap<String, String>> {
        if let Some(trailers) = trailers.and_then(s3s::TrailingHeaders::take) {
            for algorithm in ALGORITHMS {
                let value = trailers.get(format!("x-amz-checksum-{algorithm}"));
                if let Some(value) = value {
                    let value = value.to_str().map_err(|_| s3_error!(InvalidRequest))?;
                    self.told.insert(algorithm, value.to_owned());
                }
            }
        }
        let found = by_algorithm(self.hasher.finalize());
        for (algorithm, told) in &self.told {
            if found.get(*algorithm) != Some(told) {
                return Err(s3_error!(
                    BadDigest,
                    "The {algorithm} you specified did not match what \
                    was received."
                ));
            }
        }
        Ok(found)
    }
}

/// As answers have them.
pub(super) fn shown(checksums: &BTreeMap<String, String>) -> Checksum {
    let one = |algorithm: &str| checksums.get(algorithm).cloned();
    Checksum {
        checksum_crc32: one("crc32"),
        checksum_crc32c: one("crc32c"),
        checksum_crc64nvme: one("crc64nvme"),
        checksum_sha1: one("sha1"),
        checksum_sha256: one("sha256"),
        ..Checksum::default()
    }
}

fn by_algorithm(checksum: Checksum) -> BTreeMap<String, String> {
    let all = [
        ("crc32", checksum.checksum_crc32),
        ("crc32c", checksum.checksum_crc32c),
        ("crc64nvme", checksum.checksum_crc64nvme),
        ("sha1", checksum.checksum_sha1),
        ("sha256", checksum.checksum_sha256),
    ];
    let known = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    known.collect()
}
