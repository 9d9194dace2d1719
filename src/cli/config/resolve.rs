//! Which of environment, file and inheritance sets a flag, and whether the flag takes what they set.

use std::ffi::OsString;

use clap::builder::BoolishValueParser;
use clap::{Arg, Command};

use super::error::{ConfigError, Origin};
use super::file::{self, Entries};
use super::flag::{self, Kind};
use super::{Setting, secret};

/// The verb that does the work of others, and these, the first before the second.
const HEIR: (&str, [&str; 2]) = ("run", ["sync", "merge"]);
/// Where the same name is another thing: what `sync` calls its output is where `run` keeps checkpoints.
const RENAMED: [(&str, &str, &str); 1] = [("sync", "output", "checkpoints")];

/// What a flag of a verb is set to by the strongest that sets it.
pub(super) fn setting(
    verb: &str,
    arg: &Arg,
    entries: &Entries,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<Setting>, ConfigError> {
    let key = flag::key(arg);
    let name = flag::variable(verb, arg);
    // An empty variable is one that was taken back.
    let setting = if let Some(value) = variable(&name).filter(|value| !value.is_empty()) {
        Setting { values: from_environment(arg, value), origin: Origin::Environment(name) }
    } else if let Some(entry) = entries.get(&(verb.to_owned(), key.clone())) {
        Setting { values: entry.values.clone(), origin: Origin::File(entry.place.clone()) }
    } else if let Some(entry) = inherited(verb, &key, entries) {
        Setting { values: entry.values.clone(), origin: Origin::Inherited(entry.place.clone()) }
    } else {
        return Ok(None);
    };
    for value in &setting.values {
        if flag::kind(arg) == Kind::Switch && (value == "true" || value == "false") {
            continue;
        }
        let refused = match flag::kind(arg) {
            Kind::Switch => Err(("it takes true or false".into(), None)),
            _ => flag::check(arg, value),
        };
        refused.map_err(|(reason, hint)| {
            let value = value.to_string_lossy();
            let shown = secret::shown(&key, &value);
            let reason: String = if shown == value { reason } else { reason.replace(value.as_ref(), &shown) };
            let help = format!("embstore {} --help", verb.replace('.', " ")).replace("  ", " ");
            let hint = hint.unwrap_or_else(|| format!("{help} says what it takes"));
            ConfigError::Value { origin: setting.origin.clone(), value: shown, reason, hint }
        })?;
    }
    Ok(Some(setting))
}

/// A switch takes the usual words for yes and no, a flag of many values a list as in the file, or one value.
fn from_environment(arg: &Arg, value: OsString) -> Vec<OsString> {
    match flag::kind(arg) {
        Kind::Switch => {
            let probe = Arg::new("value").long("value").value_parser(BoolishValueParser::new());
            let flag = [OsString::from("--value"), value.clone()];
            let parsed = Command::new("embstore").no_binary_name(true).arg(probe).try_get_matches_from(flag);
            let on = parsed.ok().and_then(|matches| matches.get_one::<bool>("value").copied());
            vec![on.map_or(value, |on| on.to_string().into())]
        }
        Kind::Many => value.to_str().and_then(|text| file::array(arg, text)).unwrap_or_else(|| vec![value]),
        Kind::One => vec![value],
    }
}

/// What a verb takes over from the sections of the verbs whose work it does.
fn inherited<'a>(verb: &str, key: &str, entries: &'a Entries) -> Option<&'a file::Entry> {
    let (heir, sources) = HEIR;
    sources.iter().filter(|_| verb == heir).find_map(|source| {
        let renamed = |(of, from, to): &(&str, &str, &str)| of == source && (*from == key || *to == key);
        let theirs = match RENAMED.into_iter().find(renamed) {
            Some((_, from, to)) if to == key => from,
            Some(_) => return None,
            None => key,
        };
        entries.get(&((*source).to_owned(), theirs.to_owned()))
    })
}
