//! `embstore.toml`: a section a verb, a key a flag.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;

use clap::{Arg, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};
use super::flag::{self, Kind};

/// What a file sets, by verb and key.
pub(super) type Entries = BTreeMap<(String, String), Entry>;

/// The values of one flag, and where they stand.
pub(super) struct Entry {
    pub(super) values: Vec<OsString>,
    pub(super) place: Box<Place>,
}

/// Reads the text of a file of this name for the verbs of a command.
///
/// # Errors
/// The first mistake in the file. Whether a flag takes its value is not looked at here.
pub(super) fn read(file: &str, text: &str, command: &Command) -> Result<Entries, ConfigError> {
    let mut reading = Reading { file, text, command, entries: Entries::new() };
    match DeTable::parse(text) {
        Ok(table) => reading.section(command, "", table.get_ref())?,
        Err(error) => {
            let place = reading.place(error.span().unwrap_or_default(), "", "");
            return Err(ConfigError::Syntax { place, message: error.message().replace('\n', ", ") });
        }
    }
    Ok(reading.entries)
}

struct Reading<'a> {
    file: &'a str,
    text: &'a str,
    command: &'a Command,
    entries: Entries,
}

impl Reading<'_> {
    fn section(&mut self, command: &Command, verb: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        // In the order of the file, so that the first mistake is the one that is told.
        let mut pairs: Vec<_> = table.iter().collect();
        pairs.sort_by_key(|(key, _)| key.span().start);
        for (written, value) in pairs {
            let name = written.get_ref().replace('_', "-");
            let place = self.place(written.span(), verb, written.get_ref());
            if let Some(why) = flag::refused_key(&name).filter(|_| !value.get_ref().is_table()) {
                return Err(ConfigError::Refused { place, why });
            }
            if let Some(arg) = flag::find(command, &name) {
                let values = values(arg, value.get_ref(), &place)?;
                if self.entries.insert((verb.into(), name), Entry { values, place: place.clone() }).is_some() {
                    return Err(ConfigError::Twice { place });
                }
            } else if value.get_ref().is_table() || command.find_subcommand(written.get_ref().as_ref()).is_some() {
                self.subsection(command, verb, written, value)?;
            } else {
                let hint = self.hint(command, verb, &name);
                return Err(ConfigError::Key { place, hint });
            }
        }
        Ok(())
    }

    fn subsection(
        &mut self,
        command: &Command,
        verb: &str,
        written: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), ConfigError> {
        let name = written.get_ref().as_ref();
        let section = if verb.is_empty() { name.to_owned() } else { format!("{verb}.{name}") };
        let place = self.place(written.span(), &section, "");
        if let Some(why) = flag::refused_section(name).filter(|_| verb.is_empty()) {
            return Err(ConfigError::Refused { place, why });
        }
        let Some(found) = command.find_subcommand(name) else {
            let verbs: Vec<String> =
                flag::verbs(self.command).into_iter().map(|(verb, _)| verb).filter(|verb| !verb.is_empty()).collect();
            return Err(ConfigError::Section { place, nearest: flag::nearest(&section, &verbs), verbs });
        };
        match value.get_ref() {
            DeValue::Table(table) => self.section(found, &flag::below(verb, found), table),
            other => {
                let hint = format!("{name} is a verb: its settings stand below a line [{section}]");
                Err(ConfigError::Type { place, got: article(other), expected: "a section", hint })
            }
        }
    }

    /// Where an unknown key may have been meant to stand, or how it may have been meant to be spelt.
    fn hint(&self, command: &Command, verb: &str, name: &str) -> String {
        if !verb.is_empty() && flag::find(self.command, name).is_some() {
            return format!("{name} is shared by all verbs: set it at the top of the file, above the first section");
        }
        let holders: Vec<String> = flag::verbs(self.command)
            .into_iter()
            .filter(|(other, command)| !other.is_empty() && flag::find(command, name).is_some())
            .map(|(other, _)| format!("[{other}]"))
            .collect();
        if verb.is_empty() && !holders.is_empty() {
            return format!("it is a setting of a verb: set it in {}", holders.join(" or "));
        }
        let short = flag::settable(command).find(|arg| arg.get_short().is_some_and(|short| short.to_string() == name));
        let keys: Vec<String> = flag::settable(command).map(flag::key).collect();
        if let Some(nearest) = short.map(flag::key).or_else(|| flag::nearest(name, &keys)) {
            return format!("did you mean {nearest}?");
        }
        if !holders.is_empty() {
            return format!("it is a setting of {}", holders.join(" and "));
        }
        let show = format!("embstore config show {}", verb.replace('.', " "));
        format!("{} lists what can be set", show.trim_end())
    }

    fn place(&self, span: Range<usize>, section: &str, key: &str) -> Box<Place> {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Box::new(Place { file: self.file.into(), line, column, section: section.into(), key: key.into() })
    }
}

/// A value of the file as the flag would get it on the command line.
fn values(arg: &Arg, value: &DeValue<'_>, place: &Place) -> Result<Vec<OsString>, ConfigError> {
    let wrong = |got, expected| {
        let hint = match flag::kind(arg) {
            Kind::Switch => format!("write {} = true", flag::key(arg)),
            Kind::One => format!("write {} = \"…\", or a number where it is one", flag::key(arg)),
            Kind::Many => format!("write {} = [\"…\", \"…\"]", flag::key(arg)),
        };
        ConfigError::Type { place: Box::new(place.clone()), got, expected, hint }
    };
    match (flag::kind(arg), value) {
        (Kind::Switch, DeValue::Boolean(on)) => Ok(vec![on.to_string().into()]),
        (Kind::Switch, other) => Err(wrong(article(other), "true or false")),
        (Kind::Many, DeValue::Array(items)) => items
            .iter()
            .map(|item| {
                one(arg, item.get_ref()).ok_or_else(|| wrong("a list with something else", "a list of strings"))
            })
            .collect(),
        (Kind::Many, other) => {
            one(arg, other).map(|text| vec![text]).ok_or_else(|| wrong(article(other), "a list of strings"))
        }
        (Kind::One, other) => {
            one(arg, other).map(|text| vec![text]).ok_or_else(|| wrong(article(other), "a string or a number"))
        }
    }
}

/// The items of `["a", "b"]`, where a text is that.
pub(super) fn array(arg: &Arg, text: &str) -> Option<Vec<OsString>> {
    let value = DeValue::parse(text).ok()?;
    value.get_ref().as_array()?.iter().map(|item| one(arg, item.get_ref())).collect()
}

fn one(arg: &Arg, value: &DeValue<'_>) -> Option<OsString> {
    match value {
        DeValue::String(text) => Some(text.as_ref().into()),
        DeValue::Integer(number) => {
            // What does not fit is left to the flag to refuse, as it was written.
            let parsed = i128::from_str_radix(number.as_str(), number.radix());
            Some(parsed.map_or_else(|_| number.as_str().into(), |number| number.to_string()).into())
        }
        DeValue::Float(number) => Some(number.as_str().into()),
        DeValue::Boolean(on) if flag::is_bool(arg) => Some(on.to_string().into()),
        _ => None,
    }
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}
