//! A loop that always has something to receive would starve the tasks that write; a turn makes it stand back in time.

/// Messages handled before a yield.
const MESSAGES_PER_TURN: u32 = 64;

/// Counts messages, and yields to the other tasks of the runtime after 64.
#[derive(Debug, Default)]
pub struct Turn {
    handled: u32,
}

impl Turn {
    /// To be called once for each message handled.
    pub async fn handled(&mut self) {
        self.handled += 1;
        if self.handled >= MESSAGES_PER_TURN {
            self.handled = 0;
            tokio::task::yield_now().await;
        }
    }
}
