//! Settings: flag over environment over file over default, for every flag of every verb.
//!
//! Nothing here knows a flag. What the environment and `embstore.toml` set becomes the default of the flag before the
//! command line is parsed, so the verbs see no difference and `--help` shows what holds. Defaults never conflict with
//! flags, and a setting yields to a flag on the command line that excludes it. A setting does not satisfy another flag's
//! `requires`: clap looks at the command line alone for that.

mod complete;
mod error;
mod exclusive;
mod file;
mod flag;
mod resolve;
mod secret;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};

use error::{ConfigError, Origin};
use file::Entries;

pub(super) use show::ConfigArgs;

/// Read where it lies in the working directory.
const FILE: &str = "embstore.toml";
const FILE_VARIABLE: &str = "EMBSTORE_CONFIG";

/// What the file and the environment set.
#[derive(Default)]
pub(super) struct Settings {
    file: Option<PathBuf>,
    set: BTreeMap<(String, String), Setting>,
}

/// The values of one flag, as it would get them on the command line.
#[derive(Clone)]
struct Setting {
    values: Vec<OsString>,
    origin: Origin,
}

/// Why there is nothing to run.
pub(super) enum Stop {
    /// Help, version, or a wrong command line.
    Usage(clap::Error),
    /// Settings that cannot be used: what is wrong, and what to do.
    Settings(String, String),
}

/// Parses a command line on top of the file and the environment.
///
/// # Errors
/// The command line asks for help or is wrong, or the settings are.
pub(super) fn parse(plain: &Command, args: &[OsString]) -> Result<(ArgMatches, Settings), Stop> {
    let settings = match Settings::load(plain, args, |name| std::env::var_os(name)) {
        Ok(settings) => settings,
        // What says nothing about settings does not stumble over them.
        Err(error) => match plain.clone().try_get_matches_from(args) {
            Err(asked) if !asked.use_stderr() => return Err(Stop::Usage(asked)),
            Ok(matches) if matches.subcommand_name().is_some_and(|verb| verb == "completions" || verb == "man") => {
                return Ok((matches, Settings::default()));
            }
            _ => return Err(Stop::Settings(error.to_string(), error.hint())),
        },
    };
    let matches = settings.matches(plain, args).map_err(Stop::Usage)?;
    Ok((matches, settings))
}

impl Settings {
    fn load(
        plain: &Command,
        args: &[OsString],
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let named = named(args).or_else(|| variable(FILE_VARIABLE)).filter(|name| !name.is_empty()).map(PathBuf::from);
        let path = named.as_deref().unwrap_or(Path::new(FILE));
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => {
                let mut settings = Settings::gather(plain, Some((&name, &text)), variable)?;
                settings.file = Some(path.into());
                Ok(settings)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
                Settings::gather(plain, None, variable)
            }
            Err(source) => Err(ConfigError::Read { file: name, source }),
        }
    }

    /// Settings from the name and text of a file, and from the environment.
    fn gather(
        plain: &Command,
        file: Option<(&str, &str)>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let entries = file.map_or_else(|| Ok(Entries::new()), |(name, text)| file::read(name, text, plain))?;
        let mut settings = Settings::default();
        for (verb, command) in flag::verbs(plain) {
            for arg in flag::settable(command) {
                if let Some(setting) = resolve::setting(&verb, arg, &entries, &variable)? {
                    settings.set.insert((verb.clone(), flag::key(arg)), setting);
                }
            }
        }
        for (verb, command) in flag::verbs(&exclusive::built(plain)) {
            settings.check_exclusive(&verb, command)?;
        }
        Ok(settings)
    }

    fn get(&self, verb: &str, arg: &Arg) -> Option<&Setting> {
        self.set.get(&(verb.to_owned(), flag::key(arg)))
    }

    fn matches(&self, plain: &Command, args: &[OsString]) -> Result<ArgMatches, clap::Error> {
        let parsed = self.complete(plain, true).try_get_matches_from(args);
        let matches = parsed.map_err(|error| {
            // Help and errors show switches as what they are: words without a value.
            match self.complete(plain, false).try_get_matches_from(args) {
                Err(shown) if shown.kind() == error.kind() => shown,
                _ => error,
            }
        })?;
        let yielding = self.yielding(plain, &matches);
        if yielding.is_empty() {
            return Ok(matches);
        }
        let kept = self.set.iter().filter(|(at, _)| !yielding.contains(at));
        let kept = kept.map(|(at, setting)| (at.clone(), setting.clone())).collect();
        Settings { file: self.file.clone(), set: kept }.complete(plain, true).try_get_matches_from(args)
    }
}

/// The file named on the command line, which must be known before the rest can be parsed.
fn named(args: &[OsString]) -> Option<OsString> {
    let mut args = args.iter().skip(1).take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        if arg == "--config" {
            return args.next().cloned();
        }
        if let Some(name) = arg.as_bytes().strip_prefix(b"--config=") {
            return Some(OsStr::from_bytes(name).into());
        }
    }
    None
}
