//! README's tables against the code: a table that is wrong is worse than none.

use std::collections::BTreeSet;
use std::path::Path;

use clap::CommandFactory;
use kpay_sandbox::fixtures::Fixtures;
use kpay_sandbox::gateway::return_code::{CodeTable, ReturnCode};
use kpay_sandbox::gateway::wire::Param;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The first cells of the table under a heading, without backticks.
fn first_cells(heading: &str) -> Vec<String> {
    let readme = readme();
    let (_, after) =
        readme.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("README has no '{heading}'"));
    let section = after.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.split('|').nth(1).unwrap().trim().trim_matches('`').to_owned()).collect()
}

#[test]
fn the_codes_are_those_of_the_code() {
    let readme = readme();
    for code in ReturnCode::ALL {
        let number = code.number(CodeTable::Guide);
        let row =
            readme.lines().find(|line| line.starts_with(&format!("| {number} |")) && line.contains(code.meaning()));
        let row = row.unwrap_or_else(|| panic!("README has no row for {number}, {}", code.meaning()));
        let grade = format!("{:?}", code.grade()).to_lowercase();
        for word in [
            code.reply(CodeTable::Guide),
            &*grade,
            &*code.number(CodeTable::Portal).to_string(),
            &*code.http_status().to_string(),
        ] {
            assert!(row.contains(word), "{row} lacks {word}");
        }
    }
}

#[test]
fn the_parameters_are_those_of_the_code() {
    assert_eq!(first_cells("Parameters"), Param::ALL.map(|param| param.name().to_owned()));
    let readme = readme();
    for param in Param::ALL {
        assert!(
            readme.contains(&format!("| `{}` | {} | {} |", param.name(), param.limit(), param.meaning())),
            "{}",
            param.name()
        );
    }
}

#[test]
fn the_scenarios_are_those_of_the_fixtures() {
    let fixtures = Fixtures::load(None).unwrap();
    let scenarios: Vec<_> = fixtures.repertoire.of(None).map(|known| &known.scenario).collect();
    let names: BTreeSet<String> = scenarios.iter().map(|scenario| scenario.name.to_string()).collect();
    assert_eq!(first_cells("Outcomes").into_iter().collect::<BTreeSet<_>>(), names);
    let readme = readme();
    let followed = scenarios.iter().filter(|scenario| scenario.chain.is_empty()).count();
    assert!(readme.contains(&format!("scenarios 0 of {followed},")), "the report of exec covers {followed} scenarios");
    for scenario in scenarios {
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{}` |", scenario.name))).unwrap();
        assert!(row.contains(&*scenario.description), "{row}");
        assert!(row.contains(&format!("{:?}", scenario.grade).to_lowercase()), "{row}");
        for number in scenario.when.iter().filter_map(|when| when.payers()).flatten() {
            assert!(row.contains(number.as_str()), "{row} lacks {}", number.as_str());
        }
    }
}

#[test]
fn the_card_outcomes_are_those_of_the_fixtures() {
    let rows = Fixtures::load(None).unwrap().cards.outcomes.into_iter().map(|outcome| {
        let (id, words) = (outcome.settle.statusid.as_str(), outcome.settle.statusdesc.as_deref().unwrap());
        let (name, cvv) = (&outcome.name, &outcome.cvv);
        format!("| `{name}` | `{cvv}`, `0{cvv}` | `{id}` | {words} | {} |", outcome.after)
    });
    let rows: Vec<String> = rows.collect();
    let readme = readme();
    let table = readme.lines().skip_while(|line| !line.starts_with("| name on the card |")).skip(2);
    assert_eq!(table.take_while(|line| line.starts_with('|')).collect::<Vec<_>>(), rows);
}

#[test]
fn the_flags_are_those_of_the_program() {
    let program = kpay_sandbox::cli::Cli::command();
    let flags =
        program.get_arguments().filter_map(|argument| argument.get_long().map(|long| (long.to_owned(), argument)));
    let flags: Vec<_> = flags.filter(|(long, _)| !matches!(&**long, "help" | "version")).collect();
    let rows = first_cells("Settings");
    assert_eq!(rows, flags.iter().map(|(long, _)| format!("--{long}")).collect::<Vec<_>>());
    for (long, argument) in flags {
        let variable = argument.get_env().unwrap_or_else(|| panic!("--{long} has no variable"));
        assert_eq!(variable.to_str().unwrap(), format!("KPAY_SANDBOX_{}", long.to_uppercase().replace('-', "_")));
    }
}

#[test]
fn the_endpoints_are_those_of_the_program() {
    let rows: Vec<String> = first_cells("Control API");
    let endpoints: Vec<(&str, &str)> = kpay_sandbox::web::endpoints().collect();
    assert_eq!(rows, endpoints.iter().map(|(call, _)| (*call).to_owned()).collect::<Vec<_>>());
    let readme = readme();
    for (call, does) in endpoints {
        assert!(readme.contains(&format!("| `{call}` | {does} |")), "{call}: {does}");
    }
}

#[test]
fn the_commands_are_those_of_the_program() {
    let program = kpay_sandbox::cli::program();
    let commands: Vec<(String, String)> = program
        .get_subcommands()
        .map(|command| (command.get_name().to_owned(), command.get_about().unwrap().to_string()))
        .collect();
    assert_eq!(first_cells("Command line"), commands.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    let readme = readme();
    for (name, about) in commands {
        assert!(readme.contains(&format!("| `{name}` | {about} |")), "{name}: {about}");
    }
}

/// Every part of the language stands in README's table, and README's own scenario is sound.
#[test]
fn the_language_is_that_of_the_schema() {
    let readme = readme();
    let schema: serde_json::Value = serde_json::from_str(include_str!("../../fixtures/scenario.schema.json")).unwrap();
    let (_, section) = readme.split_once("## Scenarios of your own").unwrap();
    let section = section.split("\n## ").next().unwrap();
    for place in
        ["/properties", "/$defs/posting/properties", "/$defs/phase/properties", "/$defs/answer/oneOf/1/properties"]
    {
        for name in schema.pointer(place).unwrap().as_object().unwrap().keys() {
            let told = section.contains(&format!("`{name}`")) || section.contains(&format!(".{name}`"));
            let obvious = ["$schema", "name", "description", "grade"].contains(&&**name);
            assert!(told || obvious, "{place}/{name}");
        }
    }
    let example = section.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let scenario: kpay_sandbox::gateway::scenario::Scenario = serde_json::from_str(example).unwrap();
    assert_eq!(scenario.complaint(), None);
}

#[test]
fn the_profiles_are_those_of_the_fixtures() {
    let header = "| | `documented` | `observed` | `portal` |";
    assert!(readme().contains(header));
    let names: Vec<String> =
        Fixtures::load(None).unwrap().profiles.iter().map(|profile| profile.name.to_string()).collect();
    assert_eq!(names, ["documented", "observed", "portal"]);
}
