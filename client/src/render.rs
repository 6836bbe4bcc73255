//! The life of a submitted job, as its client sees it: submit, append, acknowledge; after a break, go on where it stopped.

use std::{future::Future, time::Duration};

use fractally_proto::{JobKey, Layout, Limits, Message, Priority, Request, RequestId, Submit};

use crate::{
    assemble::{AssembleError, Assembler},
    follow::{Begun, Event, Following, Held, RenderError, Rendered, Source, check_layout, follow},
    session::Broker,
    sink::Sink,
};

/// What is to be rendered and where.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// The broker.
    pub broker: Broker,
    /// The idempotency key: the same key is the same job, also over a new connection.
    pub key: JobKey,
    /// What to draw.
    pub request: Request,
    /// Which jobs go first.
    pub priority: Priority,
    /// What the job is called in the logs of broker and workers.
    pub request_id: Option<RequestId>,
    /// How long a broker that was connected once may stay away.
    pub reconnect_for: Duration,
    /// Bytes of strips that the broker may send ahead of what `out` has taken: [`WINDOW_BYTES`](crate::WINDOW_BYTES), or less where many
    /// pictures come slowly. The largest strip always may.
    pub window_bytes: u64,
}

/// Renders `options.request` into `out`, at the pace at which `out` takes it. Ready `stop` cancels the job at the broker.
///
/// # Errors
/// [`RenderError`]; `out` then holds an incomplete file.
pub async fn render<W: Sink>(
    options: &RenderOptions,
    out: W,
    on_event: impl FnMut(Event),
    stop: impl Future<Output = ()>,
) -> Result<Rendered<W>, RenderError> {
    let file = Assembler::begin(&options.request, out).map_err(AssembleError::from)?;
    let RenderOptions { broker, reconnect_for, window_bytes, .. } = options;
    let following = Following { broker, reconnect_for: *reconnect_for, window_bytes: *window_bytes };
    follow(following, Submission { options }, Some(file), on_event, stop).await
}

/// SUBMIT, answered by ACCEPTED or REFUSED.
struct Submission<'a> {
    options: &'a RenderOptions,
}

impl<W: Sink> Source<W> for Submission<'_> {
    fn check(&self, limits: &Limits) -> Result<(), RenderError> {
        Ok(self.options.request.validate(limits)?)
    }

    fn strip_len_max(&self) -> u64 {
        Layout::of(&self.options.request).strip_len_max()
    }

    fn question(&self, Held { have, engine, window_bytes }: Held) -> Message {
        let RenderOptions { key, priority, request, .. } = *self.options;
        Message::Submit(Submit {
            key,
            priority,
            have,
            engine,
            window_bytes,
            request_id: self.options.request_id.clone(),
            request,
        })
    }

    fn answer(&mut self, message: &Message, file: &mut Option<Assembler<W>>) -> Result<Option<Begun>, RenderError> {
        match message {
            Message::Accepted(accepted) if accepted.key == self.options.key => {
                if let Some(file) = file {
                    check_layout(file.layout(), accepted.strips, accepted.rows_per_strip)?;
                }
                let (job, cached) = (accepted.job, accepted.cached);
                // A picture that was there already is everybody's.
                Ok(Some(Begun { job, is_ours: !cached, cached, event: Event::Accepted { job, cached } }))
            }
            Message::Refused(refused) if refused.key == self.options.key => Err(refused.refusal.clone().into()),
            _ => Ok(None),
        }
    }
}
