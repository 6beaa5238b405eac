//! All tests in one binary: the core in virtual time without sockets, the edges over real ones.

mod chromium;
mod core;
mod harness;
mod kept;
mod receiver;

mod acknowledgements;
mod bad_input;
mod browser;
mod certificates;
mod checkout;
mod commands;
mod control;
mod endpoint;
mod exec;
mod expect;
mod faults;
mod folder;
mod golden;
mod h2;
mod heavy;
mod hints;
mod hosts;
mod http;
#[cfg(target_os = "linux")]
mod isolation;
mod language;
mod masking;
mod outbox;
mod postbacks;
mod precedence;
mod program;
mod proxy;
mod readme;
mod run;
mod scenarios;
mod security;
mod state;
mod stories;
mod surroundings;
mod tidy;
mod tls;
mod worlds;
