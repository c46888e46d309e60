//! Docker Engine driver.
//!
//! Carries out the orders of the runtime core against one engine over its unix socket, watches the
//! engine, and asks replicas how they are. It translates and never decides: no retry, no back-off,
//! no choice between two ways that a user could tell apart. What should happen next is the core's
//! business, whose [`jaco_runtime_core::Effect`]s it takes and whose
//! [`jaco_runtime_core::Input`]s it returns.

#![forbid(unsafe_code)]

mod connections;
mod container;
mod create;
mod driver;
mod engine;
mod error;
mod exec;
mod facts;
mod files;
mod image;
mod logs;
mod place;
mod probe;
mod watch;

pub use create::{CreateRequest, ImageDefaults, Unsupported, create_request};
pub use driver::{Driver, DriverHandle, EngineConfig};
pub use engine::{ApiVersion, Engine};
pub use error::Error;
pub use image::{PullProgress, PullTable, ResolvedImage};
pub use logs::{LogError, LogLine, LogQuery, LogSource, LogStream};
