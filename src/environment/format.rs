//! Variables as a shell, a file or a program takes them.

use serde_json::{Map, Value};

use crate::view::shell_quoted;

/// How variables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For `eval "$(kpay-sandbox env)"` in sh, bash and zsh.
    Shell,
    /// For `kpay-sandbox env fish | source`.
    Fish,
    /// For `kpay-sandbox env powershell | Invoke-Expression`.
    Powershell,
    /// A `.env` file.
    Dotenv,
    /// One object.
    Json,
    /// Lines for `$GITHUB_ENV`.
    Github,
}

impl Format {
    /// Returns false for a variable that whoever reads this format refuses: runners of GitHub refuse `NODE_OPTIONS`.
    pub fn takes(self, name: &str) -> bool {
        self != Format::Github || name != "NODE_OPTIONS"
    }

    /// The variables, ready to be printed.
    pub fn write(self, variables: &[(&'static str, String)]) -> String {
        let line = |(name, value): &(&'static str, String)| match self {
            Format::Shell => format!("export {name}={}\n", shell_quoted(value)),
            Format::Fish => format!("set -gx {name} '{}'\n", value.replace('\\', r"\\").replace('\'', r"\'")),
            Format::Powershell => format!("$env:{name} = '{}'\n", value.replace('\'', "''")),
            Format::Dotenv if value.contains('\'') => {
                format!("{name}=\"{}\"\n", value.replace('\\', r"\\").replace('"', "\\\"").replace('$', r"\$"))
            }
            Format::Dotenv => format!("{name}='{value}'\n"),
            Format::Json | Format::Github => format!("{name}={value}\n"),
        };
        if self == Format::Json {
            let object: Map<String, Value> =
                variables.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
            return format!("{:#}\n", Value::Object(object));
        }
        variables.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_each_format() {
        let variables = [("A", "it's $5 \"now\"".to_owned()), ("B", "/plain".to_owned())];
        for (format, expected) in [
            (Format::Shell, "export A='it'\\''s $5 \"now\"'\nexport B=/plain\n"),
            (Format::Fish, "set -gx A 'it\\'s $5 \"now\"'\nset -gx B '/plain'\n"),
            (Format::Powershell, "$env:A = 'it''s $5 \"now\"'\n$env:B = '/plain'\n"),
            (Format::Dotenv, "A=\"it's \\$5 \\\"now\\\"\"\nB='/plain'\n"),
            (Format::Json, "{\n  \"A\": \"it's $5 \\\"now\\\"\",\n  \"B\": \"/plain\"\n}\n"),
            (Format::Github, "A=it's $5 \"now\"\nB=/plain\n"),
        ] {
            assert_eq!(format.write(&variables), expected, "{format:?}");
        }
    }
}
