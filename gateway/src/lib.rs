//! The grid behind a URL: a REST API, the talk's own calls, map tiles, pages, health and metrics.
//!
//! A gateway is a client of a broker and keeps nothing that another one could not find out: a render's id is its content, and what there
//! is of it the broker knows. It computes nothing but small things: previews, and other formats of finished pictures.
//!
//! Read next: `server.rs` (connections), `trail.rs` (what every request passes), `renders.rs` and `image.rs` (the API), `grid.rs` (what is asked of the broker),
//! `watch.rs` (how many wait for one answer), `tiles.rs` and `smalls.rs` (maps), `talk.rs` (the talk's calls), `web/` (the pages).

#![expect(unused_qualifications, reason = "what the macros that describe the interface write")]

mod app;
mod args;
mod canvas;
mod conditional;
mod config;
mod counted;
mod described;
mod events;
mod grid;
mod health;
mod image;
mod metrics;
mod pages;
mod picture;
mod preview;
mod problem;
mod renders;
mod resource;
mod schemas;
mod server;
mod smalls;
mod talk;
mod tiles;
mod trail;
mod turnstile;
mod watch;
mod wire;

pub(crate) use app::App;
pub use app::openapi;
pub use config::{Bounds, Config};
pub use server::Gateway;
