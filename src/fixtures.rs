//! The data that the behaviour is made of: `fixtures/`, compiled in, replaceable file by file with
//! `--fixtures DIR`. Everything is checked when it is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};
use serde::de::DeserializeOwned;

use crate::gateway::bank::Bank;
use crate::gateway::card::Cards;
use crate::gateway::merchant::Merchant;
use crate::gateway::profile::Profile;
use crate::gateway::repertoire::{Known, Origin, Repertoire};
use crate::gateway::scenario::Scenario;
use crate::web::Rates;

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/fixtures");

/// The fixtures of this run.
#[derive(Debug, Clone)]
pub struct Fixtures {
    /// `merchants.json`
    pub merchants: Vec<Merchant>,
    /// `banks.json`
    pub banks: Vec<Bank>,
    /// `cards.json` and `card-outcomes.json`
    pub cards: Cards,
    /// `rates.json`
    pub rates: Rates,
    /// `profiles/*.json`, by name.
    pub profiles: Vec<Profile>,
    /// `scenarios/*.json`.
    pub repertoire: Repertoire,
}

/// A file that cannot be used, where and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .file.display())]
pub struct FixtureError {
    file: PathBuf,
    why: String,
}

impl Fixtures {
    /// The built-in fixtures, with those of `folder` in their place where it has the same file, and beside
    /// them where it has another.
    pub fn load(folder: Option<&Path>) -> Result<Fixtures, FixtureError> {
        let files = Files::gather(folder)?;
        let profiles: Vec<(PathBuf, Profile)> = files.parse_all("profiles")?;
        for (file, profile) in &profiles {
            named_like_its_file(file, &profile.name)?;
            complain(file, profile.complaint())?;
        }
        let scenarios: Vec<(PathBuf, Scenario)> = files.parse_all("scenarios")?;
        for (file, scenario) in &scenarios {
            named_like_its_file(file, &scenario.name)?;
            complain(file, scenario.complaint())?;
        }
        let known = scenarios.into_iter().map(|(file, scenario)| Known {
            merchant: None,
            origin: if file.starts_with("fixtures/scenarios") && folder.is_none_or(|own| !file.starts_with(own)) {
                Origin::BuiltIn
            } else {
                Origin::File
            },
            scenario: Arc::new(scenario),
        });
        let within = folder.unwrap_or(Path::new("fixtures")).join("scenarios");
        let repertoire = Repertoire::new(known.collect()).map_err(|dangling| FixtureError {
            file: within.join(format!("{}.json", dangling.scenario)),
            why: dangling.why,
        })?;
        let (file, merchants) = files.parse::<Vec<Merchant>>("merchants.json")?;
        complain(&file, merchants_complaint(&merchants))?;
        let (_, banks) = files.parse("banks.json")?;
        let ((file, cards), (_, outcomes)) = (files.parse("cards.json")?, files.parse("card-outcomes.json")?);
        let cards = Cards { cards, outcomes };
        complain(&file, cards.complaint())?;
        Ok(Fixtures {
            merchants,
            banks,
            cards,
            rates: files.parse("rates.json")?.1,
            profiles: profiles.into_iter().map(|(_, profile)| profile).collect(),
            repertoire,
        })
    }
}

fn complain(file: &Path, complaint: Option<String>) -> Result<(), FixtureError> {
    complaint.map_or(Ok(()), |why| Err(FixtureError { file: file.into(), why }))
}

fn named_like_its_file(file: &Path, name: &str) -> Result<(), FixtureError> {
    let differs = file.file_stem().is_none_or(|stem| stem != name);
    complain(file, differs.then(|| format!("name: '{name}' is not the file's name; make them the same")))
}

fn merchants_complaint(merchants: &[Merchant]) -> Option<String> {
    if merchants.is_empty() {
        return Some("the list is empty: nobody could call; name at least one merchant".into());
    }
    for (index, merchant) in merchants.iter().enumerate() {
        if merchants[..index].iter().any(|other| other.username == merchant.username) {
            return Some(format!("merchant {}: username '{}' is taken by one above it", index + 1, merchant.username));
        }
    }
    None
}

/// Reads JSON; the error says where in it something is wrong.
pub fn read_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (place, why) = (error.path().to_string(), error.inner().to_string());
        if place == "." { why } else { format!("{place}: {why}") }
    })?;
    json.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// The files by their path within the fixtures, with where each comes from.
struct Files(BTreeMap<String, (PathBuf, String)>);

impl Files {
    fn gather(folder: Option<&Path>) -> Result<Files, FixtureError> {
        let mut files = BTreeMap::new();
        let folders = [Some(&BUILT_IN), BUILT_IN.get_dir("profiles"), BUILT_IN.get_dir("scenarios")];
        for file in folders.into_iter().flatten().flat_map(Dir::files) {
            let name = file.path().to_string_lossy().replace('\\', "/");
            let text = file.contents_utf8().unwrap_or_default().to_owned();
            files.insert(name, (Path::new("fixtures").join(file.path()), text));
        }
        let Some(folder) = folder else {
            return Ok(Files(files));
        };
        for (within, required) in [("", true), ("profiles/", false), ("scenarios/", false)] {
            let directory = folder.join(within);
            let unreadable = |error: std::io::Error| FixtureError {
                file: directory.clone(),
                why: format!("cannot be read: {error}"),
            };
            let entries = match std::fs::read_dir(&directory) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => continue,
                entries => entries.map_err(unreadable)?,
            };
            for entry in entries {
                let path = entry.map_err(unreadable)?.path();
                if path.extension().is_some_and(|extension| extension == "json") {
                    let text = std::fs::read_to_string(&path).map_err(|error| FixtureError {
                        file: path.clone(),
                        why: format!("cannot be read: {error}"),
                    })?;
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    if within.is_empty() && !files.contains_key(&*name) {
                        let why =
                            "is no fixture: there are merchants.json, banks.json, cards.json, card-outcomes.json and rates.json"
                                .into();
                        return Err(FixtureError { file: path, why });
                    }
                    files.insert(format!("{within}{name}"), (path, text));
                }
            }
        }
        Ok(Files(files))
    }

    fn parse<T: DeserializeOwned>(&self, name: &str) -> Result<(PathBuf, T), FixtureError> {
        let (file, text) = &self.0[name];
        let value = read_json(text.as_bytes()).map_err(|why| FixtureError { file: file.clone(), why })?;
        Ok((file.clone(), value))
    }

    fn parse_all<T: DeserializeOwned>(&self, folder: &str) -> Result<Vec<(PathBuf, T)>, FixtureError> {
        let names = self.0.keys().filter(|name| name.split_once('/').is_some_and(|(within, _)| within == folder));
        names.map(|name| self.parse(name)).collect()
    }
}
