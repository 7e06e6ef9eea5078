//! The credentials a department can demand, and how it checks those that travel in HTTP headers.
//! The SOAP ones are checked where the envelope is read.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// What a department demands of whoever asks. The text form, for the command line, is the name and
/// its parts with colons between: `none`, `basic:user:password`, `bearer:token`,
/// `header:name:value`, `username-token-text:user:password`, `username-token-digest:user:password`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    None,
    /// HTTP Basic (RFC 7617).
    Basic {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
    /// A bearer token (RFC 6750).
    Bearer {
        /// Token.
        token: String,
    },
    /// A header with a fixed value.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// WS-Security UsernameToken with `PasswordText`. Civil registry only.
    UsernameTokenText {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
    /// WS-Security UsernameToken with `PasswordDigest`. Civil registry only.
    UsernameTokenDigest {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
}

/// A text that names no demand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected none, basic:user:password, bearer:token, header:name:value, \
     username-token-text:user:password or username-token-digest:user:password"
)]
pub struct InvalidAuth;

impl FromStr for Auth {
    type Err = InvalidAuth;

    fn from_str(text: &str) -> Result<Self, InvalidAuth> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let parts = || {
            let (first, second) = rest.split_once(':').ok_or(InvalidAuth)?;
            if first.is_empty() { Err(InvalidAuth) } else { Ok((first.into(), second.into())) }
        };
        match name {
            "none" if rest.is_empty() => Ok(Self::None),
            "basic" => parts().map(|(user, password)| Self::Basic { user, password }),
            "bearer" if !rest.is_empty() => Ok(Self::Bearer { token: rest.into() }),
            "header" => parts().map(|(name, value)| Self::Header { name, value }),
            "username-token-text" => {
                parts().map(|(user, password)| Self::UsernameTokenText { user, password })
            }
            "username-token-digest" => {
                parts().map(|(user, password)| Self::UsernameTokenDigest { user, password })
            }
            _ => Err(InvalidAuth),
        }
    }
}

impl Auth {
    /// True if the headers satisfy the demand, or it is not theirs to satisfy.
    pub(crate) fn permits(&self, headers: &HeaderMap) -> bool {
        let is_sent = |name: &str, value: &[u8]| {
            headers.get(name).is_some_and(|sent| sent.as_bytes() == value)
        };
        match self {
            Self::None | Self::UsernameTokenText { .. } | Self::UsernameTokenDigest { .. } => true,
            Self::Basic { user, password } => {
                let pair = STANDARD.encode(format!("{user}:{password}"));
                is_sent(AUTHORIZATION.as_str(), format!("Basic {pair}").as_bytes())
            }
            Self::Bearer { token } => {
                is_sent(AUTHORIZATION.as_str(), format!("Bearer {token}").as_bytes())
            }
            Self::Header { name, value } => is_sent(name, value.as_bytes()),
        }
    }

    /// What `WWW-Authenticate` says to whoever is not permitted.
    pub(crate) fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Basic { .. } => Some("Basic realm=\"department\", charset=\"UTF-8\""),
            Self::Bearer { .. } => Some("Bearer realm=\"department\""),
            Self::None
            | Self::Header { .. }
            | Self::UsernameTokenText { .. }
            | Self::UsernameTokenDigest { .. } => None,
        }
    }

    /// True if the demand is met inside a SOAP envelope.
    pub(crate) fn is_soap(&self) -> bool {
        match self {
            Self::UsernameTokenText { .. } | Self::UsernameTokenDigest { .. } => true,
            Self::None | Self::Basic { .. } | Self::Bearer { .. } | Self::Header { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_demands() {
        let user = || ("gateway".to_owned(), "a:b".to_owned());
        let check = |text: &str, expected: Result<Auth, InvalidAuth>| {
            assert_eq!(text.parse(), expected, "{text}");
        };
        let (name, value) = user();
        check("none", Ok(Auth::None));
        check("basic:gateway:a:b", Ok(Auth::Basic { user: name, password: value }));
        check("bearer:t:u", Ok(Auth::Bearer { token: "t:u".into() }));
        let (name, value) = user();
        check("header:gateway:a:b", Ok(Auth::Header { name, value }));
        let (user, password) = user();
        check(
            "username-token-digest:gateway:a:b",
            Ok(Auth::UsernameTokenDigest { user, password }),
        );
        for text in ["", "none:x", "basic:user", "basic::p", "bearer:", "ntlm:a:b"] {
            check(text, Err(InvalidAuth));
        }
    }
}
