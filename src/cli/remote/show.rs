//! Answers for people: tables, fields, lines.

use std::io::Write;

use serde_json::Value;

/// How an answer is laid out.
pub(super) enum Shape {
    /// The list under this name, these fields of each.
    Rows(&'static str, &'static [&'static str]),
    /// One line a field.
    Fields,
    /// What was met and what was not.
    Coverage,
    /// As the API sent it.
    AsItIs,
}

/// Nobody reading it is no reason to fail.
pub(super) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// An answer laid out; as it is when it is not JSON.
pub(super) fn text(answer: &str, shape: Shape) -> String {
    let Ok(value) = serde_json::from_str::<Value>(answer) else { return answer.to_owned() };
    match shape {
        Shape::AsItIs => answer.to_owned(),
        Shape::Rows(name, fields) => {
            let rows = value[name].as_array().map_or(&[][..], Vec::as_slice);
            table(rows, fields)
        }
        Shape::Fields => fields(&value, ""),
        Shape::Coverage => {
            let met = &value["met"];
            let part =
                |list: &str, fields: &[&str]| table(value[list].as_array().map_or(&[][..], Vec::as_slice), fields);
            format!(
                "met: {} codes, {} scenarios, {} kinds of delivery\n\n{}\n{}\n{}",
                cell(&met["codes"]),
                cell(&met["scenarios"]),
                cell(&met["deliveries"]),
                part("codes", &["code", "met", "meaning"]),
                part("scenarios", &["scenario", "met"]),
                part("deliveries", &["kind", "met"])
            )
        }
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => {
            text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
        }
        other => other.to_string(),
    }
}

/// Columns as wide as their widest cell; without those that are empty in every row.
fn table(rows: &[Value], fields: &[&str]) -> String {
    if rows.is_empty() {
        return "none\n".into();
    }
    let filled = |field: &&&str| rows.iter().any(|row| !cell(&row[**field]).is_empty());
    let fields: Vec<&str> = fields.iter().filter(filled).copied().collect();
    let head = fields.iter().map(|field| (*field).to_owned()).collect();
    let cells = rows.iter().map(|row| fields.iter().map(|field| cell(&row[*field])).collect());
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(cells).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..fields.len()).map(width).collect();
    let line = |line: &Vec<String>| {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    lines.iter().map(line).collect()
}

/// One line a field; objects inside one another with a point between their names, a timeline as lines.
fn fields(value: &Value, within: &str) -> String {
    let Some(object) = value.as_object() else { return format!("{}\n", cell(value)) };
    let mut text = String::new();
    for (name, value) in object {
        match value {
            Value::Object(inner) if !inner.is_empty() => text += &fields(value, &format!("{within}{name}.")),
            Value::Array(entries) if name == "timeline" => {
                text += "\n";
                entries.iter().for_each(|one| text += &entry(one));
            }
            _ => text += &format!("{:20} {}\n", format!("{within}{name}"), cell(value)),
        }
    }
    text
}

/// A journal's entry as one line.
pub(super) fn entry(entry: &Value) -> String {
    let mut line = format!("{:>5} {} {}", cell(&entry["number"]), cell(&entry["at"]), cell(&entry["event"]));
    for field in [
        "action",
        "refid",
        "tid",
        "summary",
        "code",
        "reply",
        "statusid",
        "statusdesc",
        "scenario",
        "chosen",
        "waiting",
        "url",
        "status",
        "verdict",
        "reason",
        "problem",
    ] {
        let text = cell(&entry[field]);
        if !text.is_empty() {
            line = format!("{line} {field}={text}");
        }
    }
    line + "\n"
}
