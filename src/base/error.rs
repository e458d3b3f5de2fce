//! The one error type of the crate.

use std::fmt;

/// Which kind of mistake an [`Error`] reports. Python maps each to the built-in exception PyTorch
/// raises in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Shapes, devices or autograd states that do not fit together: `RuntimeError`.
    Runtime,
    /// An index or dimension out of range: `IndexError`.
    Index,
    /// An argument of the wrong type: `TypeError`.
    Type,
    /// An argument with a value outside its domain: `ValueError`.
    Value,
    /// Something rustgrad does not do: `NotImplementedError`.
    NotImplemented,
    /// An exception of the host language, carried through the engine unchanged.
    Foreign,
}

/// An error with a message of the form `[op] what, with shapes; remedy`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result type of every fallible function of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
        }))
    }

    /// An [`ErrorKind::Runtime`] error.
    pub fn runtime(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Runtime, message)
    }

    /// An [`ErrorKind::Index`] error.
    pub fn index(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Index, message)
    }

    /// An [`ErrorKind::Type`] error.
    pub fn type_(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Type, message)
    }

    /// An [`ErrorKind::Value`] error.
    pub fn value(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Value, message)
    }

    /// An [`ErrorKind::NotImplemented`] error.
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotImplemented, message)
    }

    /// Wraps an exception of the host language so that it travels through the engine unchanged.
    pub fn foreign(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        let message = source.to_string();
        Self(Box::new(Inner {
            kind: ErrorKind::Foreign,
            message,
            source: Some(Box::new(source)),
        }))
    }

    /// What kind of mistake this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The carried exception of an [`ErrorKind::Foreign`] error.
    pub fn into_source(self) -> Option<Box<dyn std::error::Error + Send + Sync>> {
        self.0.source
    }

    /// The same error with `[op] ` in front of its message, unless an op is named there already.
    #[must_use]
    pub fn in_op(mut self, op: &str) -> Self {
        if self.0.source.is_none() && !self.0.message.starts_with('[') {
            self.0.message = format!("[{op}] {}", self.0.message);
        }
        self
    }
}

impl Error {
    /// The same error with `[op] ` in place of another op's name in front of its message: the op that was
    /// called, rather than one that it is made of.
    #[must_use]
    pub fn of_op(mut self, op: &str) -> Self {
        if self.0.source.is_none()
            && let Some((_, rest)) = self.0.message.split_once("] ")
            && self.0.message.starts_with('[')
        {
            self.0.message = rest.to_owned();
        }
        self.in_op(op)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

/// Returns early with an error of the named kind: `bail!(value, "p must be positive, got {p}")`.
#[macro_export]
macro_rules! bail {
    ($kind:ident, $($arg:tt)*) => {
        return Err($crate::base::Error::$kind(format!($($arg)*)))
    };
}

/// Returns early with an error unless a condition holds.
#[macro_export]
macro_rules! ensure {
    ($cond:expr, $kind:ident, $($arg:tt)*) => {
        if !$cond {
            $crate::bail!($kind, $($arg)*);
        }
    };
}
