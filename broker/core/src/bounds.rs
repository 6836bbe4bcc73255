//! What one account may have at once, and all together: jobs, work, connections. Whoever asks for more is told of which bound, and what to
//! do. Not here: what a single request may ask for (`proto`), and bytes (`job`).
//!
//! Cost: a look at each job for a SUBMIT, and at each client for a HELLO; both are bounded.

use fractally_proto::{ErrorCode, Refusal, RefusalCode, Request};

use crate::{Core, clients::ANONYMOUS};

/// The field of refusals that are about what one account has in hand: others may be accepted meanwhile.
const ACCOUNT: &str = "account";

/// What a job takes of the bounds.
pub(crate) fn work_of(request: &Request) -> u128 {
    u128::from(request.pixels()) * u128::from(request.iterations)
}

/// One that is too much by itself will be so later, too.
fn too_much_work(work: u128, held: u128, max: u128, [field, whose, option]: [&str; 3]) -> Refusal {
    let (code, field, way_out) = match work > max {
        true => (RefusalCode::Limit, "work", "ask for fewer pixels or iterations"),
        false => (RefusalCode::Busy, field, "wait until some of it is done, or ask for fewer pixels or iterations"),
    };
    let message = format!(
        "pixels x iterations are {work:.1e} for this job and {held:.1e} for those of {whose} in hand; together they may be {max:.1e}: \
         {way_out}; the broker's {option} sets the limit"
    );
    Refusal::new(code, field, message)
}

impl Core {
    /// Whether one more job of an account may be.
    ///
    /// # Errors
    /// The bound that it would break.
    pub(crate) fn check_room(&self, account: &str, request: &Request) -> Result<(), Refusal> {
        let busy = |field: &str, message: String| Err(Refusal::new(RefusalCode::Busy, field, message));
        let all = || self.jobs.values().map(|job| (&job.account[..], &job.request)).chain(self.kept.arriving_jobs());
        let own = || all().filter(|(of, _)| *of == account);
        if all().count() >= self.config.jobs_max {
            let message = format!("{} jobs are in hand, as many as may be; try again later", self.config.jobs_max);
            return busy("jobs", message);
        }
        let max = self.config.jobs_per_account_max;
        if own().count() >= max && !sabotage!(AccountsNotBounded) {
            let way_out = "wait until one of them is done, or cancel one; the broker's --jobs-per-account sets the limit";
            return busy(ACCOUNT, format!("{max} jobs of {account:?} are in hand, as many as one account may have; {way_out}"));
        }
        let work = work_of(request);
        let own = own().map(|(_, request)| work_of(request)).sum::<u128>();
        let everything = all().map(|(_, request)| work_of(request)).sum::<u128>();
        let name = format!("{account:?}");
        let of_account = (own, self.config.work_per_account_max, [ACCOUNT, &name, "--work-per-account"]);
        let of_all = (everything, self.config.work_max, ["work", "all accounts", "--work-max"]);
        for (held, max, whose) in [of_account, of_all] {
            if held + work > max {
                return Err(too_much_work(work, held, max, whose));
            }
        }
        Ok(())
    }

    /// Whether one more client of an account may connect. Of those who name none anybody can be anybody.
    ///
    /// # Errors
    /// What it is told.
    pub(crate) fn check_connections(&self, account: &str) -> Result<(), (ErrorCode, String)> {
        let max = self.config.connections_per_account_max;
        let own = self.clients.values().filter(|client| client.account == account).count();
        if account == ANONYMOUS || own < max {
            return Ok(());
        }
        let message = format!(
            "{max} clients of {account:?} are connected, as many as one account may have; close some, or try again later; the \
             broker's --connections-per-account sets the limit"
        );
        Err((ErrorCode::Full, message))
    }
}
