//! A KPay payment gateway that runs on a developer's own machine.
//!
//! In reading order: [`gateway`] is the core and decides everything; [`door`] is the one way to it; [`scheduler`]
//! follows the [`clock`] and has the [`courier`] deliver what leaves; [`server`] and [`web`] are how calls come in;
//! [`sandbox`] puts them together.
//!
//! ```no_run
//! # async fn test() -> Result<(), kpay_sandbox::StartError> {
//! use kpay_sandbox::{Config, Sandbox};
//!
//! let sandbox = Sandbox::start(Config::default()).await?;
//! println!("POST to {}/ and trust {}", sandbox.url(), sandbox.ca().display());
//! # Ok(()) }
//! ```

pub mod certificates;
pub mod cli;
pub mod clock;
pub mod config;
pub mod courier;
pub mod door;
pub mod environment;
pub mod fixtures;
pub mod gateway;
pub mod log;
pub mod outgoing;
pub mod proxy;
pub mod sandbox;
pub mod saved;
pub mod scheduler;
pub mod server;
pub mod state_file;
pub mod tls;
pub mod view;
pub mod web;

pub use config::Config;
pub use sandbox::{Sandbox, StartError};
