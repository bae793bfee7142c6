//! Why storage refuses. The codes and texts are those of AWS, which Tigris follows.

use thiserror::Error;

/// Why storage refuses a request.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StorageRefusal {
    /// The key may not do that.
    #[error("Access Denied")]
    AccessDenied,
    /// Somebody else has a bucket of that name.
    #[error(
        "The requested bucket name is not available. The bucket namespace is shared by all users of \
         the system. Please select a different name and try again."
    )]
    BucketAlreadyExists,
    /// The caller has that bucket already.
    #[error("Your previous request to create the named bucket succeeded and you already own it.")]
    BucketAlreadyOwnedByYou,
    /// The organization has as many buckets as it may.
    #[error("You have attempted to create more buckets than allowed")]
    TooManyBuckets,
    /// No bucket of that name.
    #[error("The specified bucket does not exist")]
    NoSuchBucket,
    /// The bucket has objects.
    #[error("The bucket you tried to delete is not empty")]
    BucketNotEmpty,
    /// No object of that key.
    #[error("The specified key does not exist.")]
    NoSuchKey,
    /// No upload of that id for that bucket and key.
    #[error(
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have \
         been aborted or completed."
    )]
    NoSuchUpload,
    /// A part that was not uploaded, or another one.
    #[error(
        "One or more of the specified parts could not be found. The part may not have been \
         uploaded, or the specified entity tag may not match the part's entity tag."
    )]
    InvalidPart,
    /// Parts have to be named in ascending order.
    #[error("The list of parts was not in ascending order.")]
    InvalidPartOrder,
    /// Parts but the last have a least size.
    #[error("Your proposed upload is smaller than the minimum allowed size")]
    EntityTooSmall,
    /// The object would be larger than any may be.
    #[error("Your proposed upload exceeds the maximum allowed size")]
    EntityTooLarge,
    /// A condition of the request does not hold.
    #[error("At least one of the pre-conditions you specified did not hold")]
    PreconditionFailed,
    /// The caller has that version already.
    #[error("Not Modified")]
    NotModified,
    /// One of the caps of this emulator.
    #[error("{0}")]
    LimitExceeded(String),
    /// A member of the request is wrong.
    #[error("{0}")]
    InvalidInput(String),
    /// A policy document that is not understood.
    #[error("{0}")]
    MalformedPolicyDocument(String),
    /// No key or policy of that name.
    #[error("{0}")]
    NoSuchEntity(String),
    /// A policy of that name exists.
    #[error("A policy called {0} already exists. Duplicate names are not allowed.")]
    EntityAlreadyExists(String),
    /// The policy is attached to a key.
    #[error("Cannot delete a policy attached to entities.")]
    DeleteConflict,
}
