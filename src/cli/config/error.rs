//! What can be wrong with a setting.

use std::fmt;
use std::io;

/// Where a setting stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file, as it was named.
    pub(super) file: String,
    /// Counted from 1.
    pub(super) line: usize,
    /// In characters, counted from 1.
    pub(super) column: usize,
    /// The verb, parts of a nested one joined by dots; empty for the shared flags.
    pub(super) section: String,
    /// The key as it was written; empty for the section itself.
    pub(super) key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line, column, section, key } = self;
        write!(out, "{file}:{line}:{column}:")?;
        if !section.is_empty() {
            write!(out, " [{section}]")?;
        }
        if !key.is_empty() {
            write!(out, " {key}")?;
        }
        Ok(())
    }
}

/// Who set a flag, the weakest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The file, in the section of a verb that this one inherits from.
    Inherited(Box<Place>),
    /// The file.
    File(Box<Place>),
    /// The environment variable of this name.
    Environment(String),
}

impl Origin {
    /// The higher one wins.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Origin::Inherited(_) => 0,
            Origin::File(_) => 1,
            Origin::Environment(_) => 2,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Inherited(place) | Origin::File(place) => place.fmt(out),
            Origin::Environment(name) => write!(out, "environment: {name}"),
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("{file}: cannot read the settings: {source}")]
    Read { file: String, source: io::Error },
    /// The file is no TOML.
    #[error("{place} is not TOML: {message}")]
    Syntax { place: Box<Place>, message: String },
    /// A section that is no verb.
    #[error("{place} is no verb")]
    Section { place: Box<Place>, nearest: Option<String>, verbs: Vec<String> },
    /// A key that is no flag of its verb.
    #[error("{place} is no setting")]
    Key { place: Box<Place>, hint: String },
    /// A flag or verb that exists but has no place in a file.
    #[error("{place} cannot be set in a file")]
    Refused { place: Box<Place>, why: &'static str },
    /// A value of the wrong type.
    #[error("{place} is {got} and should be {expected}")]
    Type { place: Box<Place>, got: &'static str, expected: &'static str, hint: String },
    /// One flag under two spellings.
    #[error("{place} is set twice")]
    Twice { place: Box<Place> },
    /// A value that the flag refuses.
    #[error("{origin} = {value:?} is refused: {reason}")]
    Value { origin: Origin, value: String, reason: String, hint: String },
    /// Two settings that exclude each other.
    #[error("{first} excludes {second}")]
    Exclusive { first: Origin, second: Origin },
}

impl ConfigError {
    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        match self {
            ConfigError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "name an existing file with --config or EMBSTORE_CONFIG; without either, embstore.toml is read \
                 where there is one"
                    .into()
            }
            ConfigError::Read { .. } => "make it a readable text file, or name another one with --config".into(),
            ConfigError::Syntax { .. } => {
                "settings look like this: [merge], and below it rows = 250000 or model = \"a/name\"".into()
            }
            ConfigError::Section { nearest: Some(nearest), .. } => format!("did you mean [{nearest}]?"),
            ConfigError::Section { verbs, .. } => format!("sections are verbs: {}", verbs.join(", ")),
            ConfigError::Refused { why, .. } => (*why).into(),
            ConfigError::Twice { .. } => "dashes and underscores are the same in a key: keep one of the two".into(),
            ConfigError::Exclusive { .. } => "take one of them out".into(),
            ConfigError::Key { hint, .. } | ConfigError::Type { hint, .. } | ConfigError::Value { hint, .. } => {
                hint.clone()
            }
        }
    }
}
