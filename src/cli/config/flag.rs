//! What a flag of the command line is to the settings: its key, the kind of its value, and whether it takes a value.

use std::any::TypeId;
use std::error::Error;
use std::ffi::{OsStr, OsString};

use clap::builder::PossibleValuesParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

/// Flags that decide what a single call does.
const PER_CALL: [(&str, &str); 4] = [
    ("config", "the file is named on the command line with --config, or by EMBSTORE_CONFIG"),
    ("dry-run", "it decides about one call: give --dry-run on the command line"),
    ("help", "it decides about one call: give --help on the command line"),
    ("version", "it decides about one call: give --version on the command line"),
];
/// Verbs that have nothing to set.
const BARE: [&str; 4] = ["completions", "config", "help", "man"];
const BARE_WHY: &str = "this verb has no settings: take the section out";

/// What values a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// On or off.
    Switch,
    /// One value.
    One,
    /// Any number of values.
    Many,
}

pub(super) fn kind(arg: &Arg) -> Kind {
    match arg.get_action() {
        ArgAction::SetTrue => Kind::Switch,
        ArgAction::Append => Kind::Many,
        _ if arg.get_num_args().is_some_and(|range| range.max_values() > 1) => Kind::Many,
        _ => Kind::One,
    }
}

/// The long name, or the id of a positional argument, with dashes.
pub(super) fn key(arg: &Arg) -> String {
    arg.get_long().unwrap_or(arg.get_id().as_str()).replace('_', "-")
}

/// Why a key has no place among the settings, where it has none.
pub(super) fn refused_key(key: &str) -> Option<&'static str> {
    PER_CALL.iter().find(|(name, _)| *name == key).map(|(_, why)| *why)
}

/// Why a section has no place in the file, where it has none.
pub(super) fn refused_section(verb: &str) -> Option<&'static str> {
    BARE.contains(&verb).then_some(BARE_WHY)
}

/// The flags of a verb that can be set.
pub(super) fn settable(command: &Command) -> impl Iterator<Item = &Arg> {
    let per_call = |arg: &&Arg| {
        use ArgAction::{Help, HelpLong, HelpShort, Version};
        !matches!(arg.get_action(), Help | HelpLong | HelpShort | Version) && refused_key(&key(arg)).is_none()
    };
    command.get_arguments().filter(per_call)
}

/// The flag of this key.
pub(super) fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    settable(command).find(|arg| key(arg) == name)
}

/// All verbs that have something to set, the shared flags first, under an empty name.
///
/// The parts of a nested verb's name are joined by dots.
pub(super) fn verbs(command: &Command) -> Vec<(String, &Command)> {
    fn gather<'a>(command: &'a Command, name: &str, into: &mut Vec<(String, &'a Command)>) {
        into.push((name.to_owned(), command));
        for verb in command.get_subcommands().filter(|verb| refused_section(verb.get_name()).is_none()) {
            gather(verb, &below(name, verb), into);
        }
    }
    let mut all = Vec::new();
    gather(command, "", &mut all);
    all
}

/// The name of a verb below the one of this name.
pub(super) fn below(name: &str, verb: &Command) -> String {
    if name.is_empty() { verb.get_name().into() } else { format!("{name}.{}", verb.get_name()) }
}

/// The environment variable of a flag: the one that it names itself, else `EMBSTORE_<VERB>_<FLAG>`.
pub(super) fn variable(verb: &str, arg: &Arg) -> String {
    if let Some(own) = arg.get_env() {
        return own.to_string_lossy().into_owned();
    }
    let verb = if verb.is_empty() { String::new() } else { format!("{verb}_") };
    format!("EMBSTORE_{verb}{}", key(arg)).replace(['-', '.'], "_").to_uppercase()
}

/// Whether the flag's own parser returns a number.
pub(super) fn is_number(arg: &Arg) -> bool {
    let own = arg.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
        TypeId::of::<f32>(),
        TypeId::of::<f64>(),
    ];
    numbers.iter().any(|number| own == *number)
}

/// Whether the flag takes the words true and false as its value.
pub(super) fn is_bool(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<bool>()
}

/// Runs a value through the flag's own parser.
///
/// # Errors
/// Why the flag refuses it, and what it takes instead where that is known.
pub(super) fn check(arg: &Arg, value: &OsStr) -> Result<(), (String, Option<String>)> {
    let mut probe = Arg::new("value")
        .long("value")
        .action(ArgAction::Append)
        .value_parser(arg.get_value_parser().clone())
        .ignore_case(arg.is_ignore_case_set());
    if let Some(delimiter) = arg.get_value_delimiter() {
        probe = probe.value_delimiter(delimiter);
    }
    let mut given = OsString::from("--value=");
    given.push(value);
    let command = Command::new("embstore").no_binary_name(true).arg(probe);
    command.try_get_matches_from([given]).map(drop).map_err(|error| why(&error))
}

fn why(error: &clap::Error) -> (String, Option<String>) {
    let valid = strings(error, ContextKind::ValidValue).join(", ");
    if let Some(reason) = error.source() {
        return (reason.to_string(), None);
    }
    if error.kind() == ErrorKind::InvalidUtf8 {
        return ("it is not UTF-8".into(), None);
    }
    if valid.is_empty() {
        return ("it is empty".into(), None);
    }
    let nearest = strings(error, ContextKind::SuggestedValue).pop();
    (format!("it takes {valid}"), nearest.map(|nearest| format!("did you mean {nearest}?")))
}

/// The name that is spelt most like this one, if any is close.
pub(super) fn nearest(name: &str, names: &[String]) -> Option<String> {
    // clap knows how to find it: it is asked to take one of the names.
    let probe = Arg::new("value").long("value").value_parser(PossibleValuesParser::new(names));
    let command = Command::new("embstore").no_binary_name(true).arg(probe);
    let error = command.try_get_matches_from([format!("--value={name}")]).err()?;
    strings(&error, ContextKind::SuggestedValue).pop()
}

fn strings(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::Strings(all)) => all.clone(),
        Some(ContextValue::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    }
}
