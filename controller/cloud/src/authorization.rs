//! A token as people paste it, and the `Authorization` header that the platform expects for it.

use secrecy::{ExposeSecret, SecretString};

/// How macaroons begin, in all their editions. Old OAuth tokens begin otherwise.
const MACAROON_PREFIXES: [&str; 3] = ["fm1r_", "fm1a_", "fm2_"];

/// Schemes that a pasted token may already carry.
const SCHEMES: [&str; 2] = ["FlyV1", "Bearer"];

/// Why a text is no token. Never shows any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is nothing besides blanks, commas and a scheme.
    #[error("the token is empty")]
    Empty,
    /// Something in it is no visible ASCII character.
    #[error("the token holds a blank or another character that no token has")]
    Character,
}

/// The value of the `Authorization` header for a token.
///
/// The token may carry a scheme and be a list separated by commas. If the list holds any macaroon,
/// the answer is `FlyV1` and the macaroons, because a list of both kinds is refused by some
/// services; else it is `Bearer` and the list.
///
/// # Errors
/// [`TokenError`] if it is empty or cannot stand in a header.
pub fn authorization(token: &SecretString) -> Result<SecretString, TokenError> {
    let parts: Vec<&str> = token
        .expose_secret()
        .split(',')
        .map(without_scheme)
        .filter(|part| !part.is_empty())
        .collect();
    if parts.is_empty() {
        return Err(TokenError::Empty);
    }
    if !parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(TokenError::Character);
    }
    let macaroons: Vec<&str> = parts.iter().copied().filter(|part| is_macaroon(part)).collect();
    let header = if macaroons.is_empty() {
        format!("Bearer {}", parts.join(","))
    } else {
        format!("FlyV1 {}", macaroons.join(","))
    };
    Ok(header.into())
}

fn is_macaroon(part: &str) -> bool {
    MACAROON_PREFIXES.iter().any(|prefix| part.starts_with(prefix))
}

fn without_scheme(part: &str) -> &str {
    let part = part.trim();
    match part.split_once(|character: char| character.is_ascii_whitespace()) {
        Some((scheme, rest)) if SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
            rest.trim()
        }
        _ if SCHEMES.iter().any(|known| part.eq_ignore_ascii_case(known)) => "",
        _ => part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(token: &str) -> Result<String, TokenError> {
        authorization(&token.into()).map(|header| header.expose_secret().to_owned())
    }

    #[test]
    fn every_form_of_a_token_has_its_header() {
        let table = [
            ("oauth-123", "Bearer oauth-123"),
            (" oauth-123\n", "Bearer oauth-123"),
            ("Bearer oauth-123", "Bearer oauth-123"),
            ("bearer oauth-123", "Bearer oauth-123"),
            ("fo1_abc,oauth-123", "Bearer fo1_abc,oauth-123"),
            ("fm2_abc", "FlyV1 fm2_abc"),
            ("fm1r_abc", "FlyV1 fm1r_abc"),
            ("fm1a_abc", "FlyV1 fm1a_abc"),
            ("Bearer fm2_abc", "FlyV1 fm2_abc"),
            ("FlyV1 fm2_abc", "FlyV1 fm2_abc"),
            ("FlyV1 fm2_abc,fm2_def", "FlyV1 fm2_abc,fm2_def"),
            ("FlyV1 fm2_abc, FlyV1 fm2_def,", "FlyV1 fm2_abc,fm2_def"),
            ("oauth-123,fm2_abc,fo1_x,fm1r_def", "FlyV1 fm2_abc,fm1r_def"),
            ("fm2_a+/b==", "FlyV1 fm2_a+/b=="),
            ("xfm2_abc", "Bearer xfm2_abc"),
        ];
        for (token, expected) in table {
            assert_eq!(header(token).as_deref(), Ok(expected), "{token:?}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_showing_it() {
        for token in ["", "  \n", ",,", "FlyV1 ", "FlyV1", "Bearer ,"] {
            assert_eq!(header(token), Err(TokenError::Empty), "{token:?}");
        }
        for token in ["fm2_a b", "fm2_a\nfm2_b", "fm2_ä", "fm2_a\u{7f}", "fm2_a\r\nX: y"] {
            assert_eq!(header(token), Err(TokenError::Character), "{token:?}");
        }
    }
}
