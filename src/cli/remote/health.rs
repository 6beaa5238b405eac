//! `kpay-sandbox healthcheck`: whether a sandbox answers, for a container that has no curl in it.

use std::process::ExitCode;

use super::super::fail;
use super::client::{Client, Question};

/// Asks whether it is ready; 0 when it is, 1 when not.
pub(super) async fn check(client: &Client) -> ExitCode {
    match client.ask(&Question::ready()).await {
        Ok(answer) if answer.status == 200 => ExitCode::SUCCESS,
        Ok(answer) => fail(1, &answer.complaint()),
        Err(why) => fail(1, &why),
    }
}
