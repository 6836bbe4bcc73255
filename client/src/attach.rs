//! Follows a detached job, which goes on whether or not anybody does.

use std::{future::Future, io, time::Duration};

use fractally_proto::{Attach, Attached, Encoding, JobId, Layout, Limits, Message, Request, Window};

use crate::{
    assemble::{AssembleError, Assembler},
    follow::{Begun, Event, Following, Held, RenderError, Rendered, Source, check_layout, follow},
    session::Broker,
    sink::Sink,
};

/// Which job is to be followed.
#[derive(Clone, Debug)]
pub struct AttachOptions {
    /// The broker.
    pub broker: Broker,
    /// The job, of whichever client.
    pub job: JobId,
    /// Whether to leave at once where the picture is not complete.
    pub only_if_done: bool,
    /// How long a broker that was connected once may stay away.
    pub reconnect_for: Duration,
    /// What the job draws, where that is known already; a job that draws something else is not followed.
    pub request: Option<Request>,
    /// Bytes of strips that the broker may send ahead of what was written: [`WINDOW_BYTES`](crate::WINDOW_BYTES), or less where many
    /// pictures come slowly. The largest strip always may; without `request`, that of any picture within the default limits, 4 MB.
    pub window_bytes: u64,
}

/// Follows a detached job into what `open` gives once the broker has told what it draws. Ready `stop` leaves; the job goes on.
///
/// # Errors
/// [`RenderError`]; what `open` gave then holds an incomplete file.
pub async fn attach<W: Sink>(
    options: &AttachOptions,
    open: impl FnOnce(&Request) -> io::Result<W>,
    on_event: impl FnMut(Event),
    stop: impl Future<Output = ()>,
) -> Result<Rendered<W>, RenderError> {
    let AttachOptions { broker, reconnect_for, request, window_bytes, .. } = options;
    let source = Attachment { options, open: Some(open), request: *request };
    let following = Following { broker, reconnect_for: *reconnect_for, window_bytes: *window_bytes };
    follow(following, source, None, on_event, stop).await
}

/// The largest strip of any picture within the default limits: raw counts have the longest rows.
fn any_strip_len_max() -> u64 {
    let window = Window { x: 0, y: 0, w: Limits::default().width_max, h: 1 };
    Layout::of(&Request { window, encoding: Encoding::Counts, ..Request::default() }).strip_len_max()
}

/// ATTACH, answered by ATTACHED or FAILED.
struct Attachment<'a, O> {
    options: &'a AttachOptions,
    /// What gives the writer, until it is needed.
    open: Option<O>,
    /// What the job draws, as we were told here or by the first answer.
    request: Option<Request>,
}

impl<O> Attachment<'_, O> {
    /// What a broker tells of a job is as little to be trusted as any request: file heads and strip tables are made from it.
    fn check_answer(&self, attached: &Attached) -> Result<(), AssembleError> {
        let misfit = |what: String| Err(AssembleError::Misfit(what));
        if let Err(refusal) = attached.request.validate(&Limits::default()) {
            return misfit(format!("the job's picture cannot be drawn: {refusal}"));
        }
        if self.request.is_some_and(|request| request != attached.request) {
            return misfit("the job draws another picture than it should".to_owned());
        }
        check_layout(&Layout::of(&attached.request), attached.strips, attached.rows_per_strip)?;
        if attached.rows > attached.request.window.h {
            return misfit(format!("{} rows of {} are on its disk", attached.rows, attached.request.window.h));
        }
        Ok(())
    }
}

impl<W: Sink, O: FnOnce(&Request) -> io::Result<W>> Source<W> for Attachment<'_, O> {
    fn check(&self, _: &Limits) -> Result<(), RenderError> {
        // The broker has accepted the job.
        Ok(())
    }

    fn strip_len_max(&self) -> u64 {
        self.request.as_ref().map_or_else(any_strip_len_max, |request| Layout::of(request).strip_len_max())
    }

    fn question(&self, Held { have, engine, window_bytes }: Held) -> Message {
        Message::Attach(Attach { job: self.options.job, have, engine, window_bytes })
    }

    fn answer(&mut self, message: &Message, file: &mut Option<Assembler<W>>) -> Result<Option<Begun>, RenderError> {
        let attached = match message {
            Message::Attached(attached) if attached.job == self.options.job => attached,
            // Where the job was followed already it is the end that every job may come to.
            Message::Failed(failed) if failed.job == self.options.job && self.open.is_some() => {
                return Err(RenderError::NoPicture(failed.reason.clone()));
            }
            Message::Failed(failed) if failed.job == self.options.job => {
                return Err(RenderError::Failed(failed.reason.clone()));
            }
            _ => return Ok(None),
        };
        self.check_answer(attached)?;
        let (rows, rows_all) = (attached.rows, attached.request.window.h);
        if self.options.only_if_done && rows < rows_all {
            return Err(RenderError::NotDone { rows, rows_all });
        }
        self.request = Some(attached.request);
        if let Some(open) = self.open.take() {
            let out = open(&attached.request).map_err(AssembleError::from)?;
            *file = Some(Assembler::begin(&attached.request, out).map_err(AssembleError::from)?);
        }
        let job = attached.job;
        let event = Event::Attached { job, rows, rows_all };
        Ok(Some(Begun { job, is_ours: false, cached: rows == rows_all, event }))
    }
}
