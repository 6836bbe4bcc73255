//! `fractally top`: what a broker is at, in a terminal, for as long as somebody watches.
//!
//! Read next: `top/live.rs` for the loop, `top/model.rs` for what is known and what keys do, `top/page.rs` for how it looks,
//! `top/looks.rs` for how rates are made, `top/screen.rs` for the terminal and its return.

mod columns;
#[cfg(test)]
mod crafted;
mod live;
mod looks;
mod model;
mod page;
#[cfg(test)]
mod pages;
mod paint;
mod screen;
mod text;

use std::{io::IsTerminal, time::Duration};

use fractally_client::Monitor;
use fractally_proto::Status;
use ratatui::{buffer::Buffer, layout::Rect, text::Span};

use self::{
    model::{Model, View},
    page::{draw, rows_needed},
};
use crate::{cli::TopArgs, exit::Failure, life::Stop, output::print_line};

/// Columns of a page that is printed where nobody says otherwise, and bounds of what may be said.
const COLUMNS_DEFAULT: u16 = 120;
const COLUMNS: std::ops::RangeInclusive<u16> = 20..=1000;

pub(crate) async fn run(args: TopArgs, stop: Stop) -> Result<(), Failure> {
    let mut monitor = Monitor::new(args.reach.broker(None));
    let mut model = Model::new(args.reach.broker.to_string(), args.every);
    // A broker that was never there is not waited for: the endpoint may be wrong.
    model.on_status(Duration::ZERO, stop.clone().or(look(&mut monitor)).await?);
    let is_terminal = std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    if is_terminal && !args.once {
        return live::run(monitor, model, args.every, stop).await;
    }
    let printed = stop.or(print(&mut monitor, model, args.every)).await;
    monitor.close().await;
    printed
}

async fn look(monitor: &mut Monitor) -> Result<Status, Failure> {
    Ok(monitor.status().await?)
}

/// Looks a second time, which makes rates, and prints the page.
async fn print(monitor: &mut Monitor, mut model: Model, every: Duration) -> Result<(), Failure> {
    tokio::select! {
        () = tokio::time::sleep(every) => {}
        lost = monitor.keep() => return Err(lost.into()),
    }
    model.on_status(Duration::ZERO, look(monitor).await?);
    let width = columns();
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, rows_needed(&model, width)));
    draw(&mut buffer, &model, &View::default(), Duration::ZERO, false, false);
    print_line(plain(&buffer).trim_end())
}

/// As wide as the terminal, or as `COLUMNS` says.
fn columns() -> u16 {
    let terminal = || std::io::stdout().is_terminal().then(|| ratatui::crossterm::terminal::size().ok()).flatten();
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let columns = said.or_else(|| terminal().map(|(columns, _)| columns)).unwrap_or(COLUMNS_DEFAULT);
    columns.clamp(*COLUMNS.start(), *COLUMNS.end())
}

/// The characters of a page, without their looks.
fn plain(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in buffer.area.top()..buffer.area.bottom() {
        let (mut line, mut x) = (String::new(), buffer.area.left());
        while x < buffer.area.right() {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            // A wide character stands in two cells, of which the second says nothing.
            x += u16::try_from(Span::raw(symbol).width()).unwrap_or(1).max(1);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
