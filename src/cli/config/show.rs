//! `embstore config show`

use std::io::{self, Write};

use clap::{Arg, Args, Command, Subcommand};
use serde_json::{Map, Value, json};

use super::complete::described_default;
use super::error::Origin;
use super::flag::{self, Kind};
use super::{Settings, secret};
use crate::cli::Failure;
use crate::cli::output::Output;

/// What the flags of all verbs together are called here.
const SHARED: &str = "shared";

/// Look at the settings
#[derive(Args)]
pub(in crate::cli) struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Subcommand)]
enum ConfigVerb {
    Show(ShowArgs),
}

/// Print every setting, its value, and where it comes from.
///
/// A flag on the command line is over an environment variable, that over the file, and that over the default.
/// What [sync] and [merge] set in the file holds for run too, unless [run] sets it. Passwords are not shown.
#[derive(Args)]
#[command(after_help = "\
Examples:
  embstore config show
  embstore config show merge
  embstore config show --config other.toml --json

A file, which is read as embstore.toml in the working directory or named with --config:
  progress = \"plain\"

  [merge]
  rows = 250000
  articles = \"wikipedia.pkl\"
  force = true")]
struct ShowArgs {
    /// Show the settings of this verb only
    #[arg(value_name = "VERB")]
    verb: Vec<String>,
}

/// One line of the listing.
struct Row {
    key: String,
    /// As the flag gets them; none where it is not set.
    values: Vec<String>,
    json: Value,
    from: &'static str,
    /// The variable, or the place in the file.
    detail: String,
}

impl ConfigArgs {
    /// # Errors
    /// There is no such verb, or the result cannot be printed.
    pub(in crate::cli) fn run(&self, plain: &Command, settings: &Settings, output: Output) -> Result<(), Failure> {
        let ConfigVerb::Show(ShowArgs { verb: asked }) = &self.verb;
        let asked = asked.join(".").replace(' ', ".");
        let verbs = flag::verbs(plain).into_iter().map(|(verb, command)| {
            let rows: Vec<Row> = flag::settable(command).map(|arg| row(&verb, arg, settings)).collect();
            (if verb.is_empty() { SHARED.to_owned() } else { verb }, rows)
        });
        let verbs: Vec<(String, Vec<Row>)> = verbs.filter(|(_, rows)| !rows.is_empty()).collect();
        let names = verbs.iter().map(|(verb, _)| verb.replace('.', " ")).collect::<Vec<_>>().join(", ");
        let below = format!("{asked}.");
        let wanted = |verb: &str| asked.is_empty() || verb == asked || verb.starts_with(&below);
        let verbs: Vec<(String, Vec<Row>)> = verbs.into_iter().filter(|(verb, _)| wanted(verb)).collect();
        if verbs.is_empty() {
            let what = format!("{} is no verb with settings", asked.replace('.', " "));
            return Err(Failure::Usage(what, format!("these have some: {names}")));
        }
        let result = json!({
            "file": settings.file.as_ref().map(|file| file.display().to_string()),
            "settings": verbs.iter().map(|(verb, rows)| (verb.clone(), object(rows))).collect::<Map<_, _>>(),
        });
        Ok(output.result(&result, |out| print(&verbs, settings, out))?)
    }
}

fn row(verb: &str, arg: &Arg, settings: &Settings) -> Row {
    let key = flag::key(arg);
    let own = arg.get_default_values().iter();
    let (values, from, detail) = match settings.get(verb, arg) {
        Some(setting) => {
            let values: Vec<String> = setting.values.iter().map(|value| value.to_string_lossy().into_owned()).collect();
            let (from, detail) = match &setting.origin {
                Origin::Environment(name) => ("environment", name.clone()),
                Origin::File(place) => ("file", format!("{}:{}", place.file, place.line)),
                Origin::Inherited(place) => ("file", format!("{}:{} [{}]", place.file, place.line, place.section)),
            };
            (values, from, detail)
        }
        None if flag::kind(arg) == Kind::Switch => (vec!["false".into()], "default", String::new()),
        None if arg.get_default_values().is_empty() => {
            (Vec::new(), "unset", described_default(arg).unwrap_or_default())
        }
        None => (own.map(|value| value.to_string_lossy().into_owned()).collect(), "default", String::new()),
    };
    let values: Vec<String> = values.iter().map(|value| secret::shown(&key, value)).collect();
    let json = if from == "unset" { Value::Null } else { json_value(arg, &values) };
    Row { key, values, json, from, detail }
}

fn json_value(arg: &Arg, values: &[String]) -> Value {
    let typed = |text: &String| {
        let number = if flag::is_number(arg) { serde_json::from_str(text).ok() } else { None };
        number.unwrap_or_else(|| Value::from(text.as_str()))
    };
    match flag::kind(arg) {
        Kind::Switch => values.iter().any(|value| value == "true").into(),
        Kind::Many => values.iter().map(typed).collect(),
        Kind::One => values.first().map_or(Value::Null, typed),
    }
}

fn object(rows: &[Row]) -> Value {
    rows.iter()
        .map(|row| {
            let mut value = json!({"value": row.json, "from": row.from});
            match row.from {
                "environment" => value["variable"] = row.detail.as_str().into(),
                "file" => value["place"] = row.detail.as_str().into(),
                _ => {}
            }
            (row.key.clone(), value)
        })
        .collect::<Map<_, _>>()
        .into()
}

fn print(verbs: &[(String, Vec<Row>)], settings: &Settings, out: &mut dyn Write) -> io::Result<()> {
    match &settings.file {
        Some(file) => writeln!(out, "file: {}", file.display())?,
        None => writeln!(out, "file: none (there is no {} here, and --config names none)", super::FILE)?,
    }
    let rows = || verbs.iter().flat_map(|(_, rows)| rows);
    let width = rows().map(|row| row.key.chars().count()).max().unwrap_or(0);
    let value_width = rows().map(|row| value(row).chars().count()).filter(|width| *width <= 40).max().unwrap_or(0);
    for (verb, rows) in verbs {
        writeln!(out, "\n{}", verb.replace('.', " "))?;
        for row in rows {
            let from = match row.from {
                "file" => row.detail.clone(),
                "environment" => format!("environment {}", row.detail),
                "unset" if row.detail.is_empty() => "not set".into(),
                "unset" => format!("not set ({})", row.detail),
                other => other.into(),
            };
            writeln!(out, "  {:<width$}  {:<value_width$}  {from}", row.key, value(row))?;
        }
    }
    Ok(())
}

fn value(row: &Row) -> String {
    match row.values.as_slice() {
        [] => "-".into(),
        values => values.join(", "),
    }
}
