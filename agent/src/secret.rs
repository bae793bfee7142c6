//! The tenant's secret, out of sight: a variable would stay readable in `/proc/PID/environ` for as
//! long as the process lives.
//!
//! ```text
//!   first life:   VAULT_TENANT_SECRET ─▶ sealed memfd ─▶ standard input of the second life
//!                 exec /proc/self/exe, same arguments, without the variable
//!   second life:  read it once, put /dev/null in its place
//! ```
//!
//! Standard input carries it because a descriptor of a known number needs no raw one.

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, SealFlags};
use thiserror::Error;
use vault_protocol::SECRET_VARIABLE;
use vault_protocol::key::TenantSecret;
use zeroize::Zeroizing;

use crate::limits::SECRET_TEXT_BYTES_MAX;

/// Tells the second life which descriptor holds the secret. It is always 0.
pub const DESCRIPTOR_VARIABLE: &str = "VAULT_SECRET_FD";

/// The seals of the handed-over memory: its content is final.
const SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK).union(SealFlags::SEAL);

/// Why there is no secret. Not the end of the agent: it serves evidence, and says this in its
/// health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("this machine has no app secret {SECRET_VARIABLE}")]
    Missing,
    /// The variable holds something else.
    #[error("the app secret {SECRET_VARIABLE} is not 32 bytes in base64url without padding")]
    Malformed,
}

/// Why the secret could not be put out of sight.
#[derive(Debug, Error)]
pub enum HandOverError {
    /// Making the sealed memory failed.
    #[error("could not put the secret into sealed memory")]
    Seal(#[source] io::Error),
    /// Executing the program again failed.
    #[error("could not execute /proc/self/exe again, without the secret in the environment")]
    Execute(#[source] io::Error),
    /// Reading what the first life handed over failed.
    #[error("could not read the secret that was handed over")]
    Read(#[source] io::Error),
    /// Standard input is not what the first life hands over.
    #[error("{DESCRIPTOR_VARIABLE} is set, and standard input is not sealed memory")]
    NotSealed,
}

/// Takes the secret out of the environment. Call it before any thread exists.
///
/// If the variable is set, this executes the program again and does not return.
///
/// # Errors
/// Outside: the secret could not be put out of sight. Inside: there is none.
pub fn take() -> Result<Result<TenantSecret, SecretError>, HandOverError> {
    if let Some(text) = env::var_os(SECRET_VARIABLE) {
        let text = Zeroizing::new(text.as_bytes().to_vec());
        let never: Infallible = hand_over(&text)?;
        match never {}
    }
    match env::var_os(DESCRIPTOR_VARIABLE) {
        None => Ok(Err(SecretError::Missing)),
        Some(_) => receive(),
    }
}

fn hand_over(text: &[u8]) -> Result<Infallible, HandOverError> {
    let memory = sealed(text).map_err(HandOverError::Seal)?;
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("vault-agent"));
    let error = Command::new("/proc/self/exe")
        .arg0(name)
        .args(arguments)
        .env_remove(SECRET_VARIABLE)
        .env(DESCRIPTOR_VARIABLE, "0")
        .stdin(Stdio::from(memory))
        .exec();
    Err(HandOverError::Execute(error))
}

fn sealed(text: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut memory = File::from(rustix::fs::memfd_create("vault-secret", flags)?);
    memory.write_all(text)?;
    memory.rewind()?;
    rustix::fs::fcntl_add_seals(&memory, SEALS)?;
    Ok(memory)
}

fn receive() -> Result<Result<TenantSecret, SecretError>, HandOverError> {
    let stdin = io::stdin();
    // Whoever sets the variable by hand must not make us wait on a terminal.
    let seals = rustix::fs::fcntl_get_seals(stdin.as_fd());
    if !seals.is_ok_and(|seals| seals.contains(SEALS)) {
        return Err(HandOverError::NotSealed);
    }
    // Of another handle than the standard library's, which would keep a copy in its buffer.
    let memory = stdin.as_fd().try_clone_to_owned().map_err(HandOverError::Read)?;
    let secret = read(&mut File::from(memory)).map_err(HandOverError::Read)?;
    let nothing = File::open("/dev/null").map_err(HandOverError::Read)?;
    rustix::stdio::dup2_stdin(&nothing).map_err(|error| HandOverError::Read(error.into()))?;
    Ok(secret)
}

fn read(memory: &mut File) -> io::Result<Result<TenantSecret, SecretError>> {
    let mut bytes = Zeroizing::new([0; SECRET_TEXT_BYTES_MAX]);
    let mut count = 0;
    loop {
        match memory.read(&mut bytes[count..])? {
            0 => break,
            more => count += more,
        }
    }
    let text = str::from_utf8(&bytes[..count]).map_err(|_| SecretError::Malformed);
    Ok(text.and_then(|text| TenantSecret::read(text).map_err(|_| SecretError::Malformed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_memory_is_final_and_is_read_whole() {
        let secret = TenantSecret::new([7; 32]);
        let mut memory = sealed(secret.text().as_bytes()).expect("sealed");
        let read = read(&mut memory).expect("readable").expect("a secret");
        assert_eq!(read.text(), secret.text());
        memory.rewind().expect("seekable");
        memory.write_all(b"x").expect_err("sealed against writing");
        assert_eq!(rustix::fs::fcntl_get_seals(&memory).expect("seals"), SEALS);
    }

    #[test]
    fn what_is_no_secret_is_malformed() {
        for text in [b"".as_slice(), b"short", &[0xff; 43], &[b'A'; 10_000]] {
            let mut memory = sealed(text).expect("sealed");
            let error = read(&mut memory).expect("readable").expect_err("no secret");
            assert_eq!(error, SecretError::Malformed);
        }
    }
}
