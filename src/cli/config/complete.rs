//! Settings become the defaults of their flags.

use clap::{Arg, ArgAction, Command, value_parser};

use super::flag::{self, Kind};
use super::{Settings, secret};

impl Settings {
    /// The command with every setting as a default.
    ///
    /// `switchable` lets every switch take `=false`, so that the command line can turn off what a setting has turned
    /// on; without it only the switches that are set are shown with a value.
    pub(super) fn complete(&self, plain: &Command, switchable: bool) -> Command {
        self.verb(plain.clone(), "", switchable)
    }

    fn verb(&self, command: Command, name: &str, switchable: bool) -> Command {
        command.mut_args(|arg| self.flag(arg, name, switchable)).mut_subcommands(|verb| {
            let name = flag::below(name, &verb);
            self.verb(verb, &name, switchable)
        })
    }

    fn flag(&self, arg: Arg, verb: &str, switchable: bool) -> Arg {
        let key = flag::key(&arg);
        let setting = self.get(verb, &arg);
        let arg = if arg.get_env().is_some() { arg.hide_env_values(true) } else { arg };
        let arg = match flag::kind(&arg) {
            Kind::Switch if switchable || setting.is_some() => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_value("false")
                .default_missing_value("true")
                .value_parser(value_parser!(bool))
                .value_name("true|false")
                .hide_possible_values(true),
            _ => arg,
        };
        let Some(setting) = setting else { return arg };
        let secret = setting.values.iter().any(|value| {
            let value = value.to_string_lossy();
            secret::shown(&key, &value) != value
        });
        let required = arg.is_required_set() && setting.values.is_empty();
        without_default(arg).default_values(setting.values.clone()).hide_default_value(secret).required(required)
    }
}

/// Takes `[default: …]` out of the help of a flag, which is no longer true.
fn without_default(mut arg: Arg) -> Arg {
    let cut = |text: String| {
        let (before, rest) = text.split_once(" [default: ")?;
        let (_, after) = rest.split_once(']')?;
        Some(format!("{before}{after}"))
    };
    if let Some(help) = arg.get_help().and_then(|help| cut(help.to_string())) {
        arg = arg.help(help);
    }
    if let Some(help) = arg.get_long_help().and_then(|help| cut(help.to_string())) {
        arg = arg.long_help(help);
    }
    arg
}

/// What `[default: …]` in the help of a flag says, of a flag whose default is not a value.
pub(super) fn described_default(arg: &Arg) -> Option<String> {
    let help = arg.get_help()?.to_string();
    let (_, rest) = help.split_once(" [default: ")?;
    Some(rest.split_once(']')?.0.to_owned())
}
