//! `kpay-sandbox env`: what `exec` sets, for a sandbox that runs already.

use std::process::ExitCode;

use serde_json::Value;

use super::super::fail;
use super::client::{Client, Question};
use super::{escaped, show};
use crate::environment::{Format, Surroundings};
use crate::gateway::merchant::Merchant;
use crate::log::say;

/// Asks for the facts, writes what the variables name, and prints them.
pub(super) async fn print(client: &Client, username: Option<&str>, format: Format, intercept: bool) -> ExitCode {
    let surroundings = match surroundings(client, username, intercept).await {
        Ok(surroundings) => surroundings,
        Err(why) => return fail(1, &why),
    };
    let before = |name: &str| std::env::var(name).ok();
    let tools = match surroundings.write_tools(before) {
        Ok(tools) => tools,
        Err(error) => {
            let folder = surroundings.ca.parent().unwrap_or(&surroundings.ca).display();
            return fail(1, &format!("{folder}: the sandbox's certificates cannot be used from here: {error}"));
        }
    };
    for notice in &tools.notices {
        say(notice);
    }
    let mut variables = surroundings.variables(&tools, before);
    let all = variables.len();
    variables.retain(|(name, _)| format.takes(name));
    if variables.len() < all {
        say(
            "NODE_OPTIONS is left out, because runners refuse it. Node before 22.21 ignores HTTPS_PROXY: use kpay-sandbox hosts --write and serve --listen :443, as action.yml does",
        );
    }
    show::print(&format.write(&variables));
    ExitCode::SUCCESS
}

async fn surroundings(client: &Client, username: Option<&str>, intercept: bool) -> Result<Surroundings, String> {
    let info = ask(client, "info").await?;
    let fact = |name: &str| info[name].as_str().unwrap_or_default().to_owned();
    let username = username.map_or_else(|| fact("username"), str::to_owned);
    let merchant = ask(client, &format!("merchants/{}", escaped(&username))).await?;
    let merchant: Merchant = serde_json::from_value(merchant).map_err(|error| format!("{username}: {error}"))?;
    Ok(Surroundings {
        url: fact("url"),
        address: client.address(),
        retailer: merchant.usable_retailer().to_owned(),
        username,
        password: merchant.password.into(),
        key: merchant.key.into(),
        ca: fact("ca").into(),
        bundle: fact("bundle").into(),
        intercept,
    })
}

async fn ask(client: &Client, path: &str) -> Result<Value, String> {
    let answer = client.ask(&Question::new("GET", path)).await?;
    if answer.status >= 300 {
        return Err(answer.complaint());
    }
    serde_json::from_str(&answer.text).map_err(|error| format!("{path}: the answer cannot be read: {error}"))
}
