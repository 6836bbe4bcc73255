//! Deliberate bugs, for the test that the simulation bites. Outside tests `sabotage!` is the constant `false`.

/// Whether this thread runs with the named bug.
#[cfg(not(test))]
macro_rules! sabotage {
    ($bug:ident) => {
        false
    };
}

/// Whether this thread runs with the named bug.
#[cfg(test)]
macro_rules! sabotage {
    ($bug:ident) => {
        $crate::sabotage::is_active($crate::sabotage::Bug::$bug)
    };
}

#[cfg(test)]
pub(crate) use bugs::{Bug, is_active, with};

#[cfg(test)]
mod bugs {
    use std::cell::Cell;

    macro_rules! bugs {
        ($($(#[$doc:meta])* $bug:ident),+ $(,)?) => {
            /// A bug that somebody could write.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub(crate) enum Bug { $($(#[$doc])* $bug),+ }

            impl Bug {
                pub(crate) const ALL: &[Self] = &[$(Self::$bug),+];
            }
        };
    }

    bugs! {
        /// A tile of an attempt that is over counts.
        FenceOff,
        /// No lease ever runs out.
        ExpirySkipped,
        /// An answer that comes too late does not give its credit back.
        CreditLeakedAtLateAnswer,
        /// An answer to WITHDRAW does not give its credit back.
        CreditLeakedAtWithdraw,
        /// The bands of a worker that is gone are not offered again.
        DeadWorkersBandsForgotten,
        /// A silent peer stays.
        LivenessSkipped,
        /// Bytes stay reserved at the worst case when the tile is there.
        ReservedNotCorrected,
        /// A client is sent more than its window.
        WindowIgnored,
        /// The band that everybody waits for waits for room.
        HeadNotExempt,
        /// A gap in the rows is skipped.
        DeliveryOutOfOrder,
        /// A client that comes back misses one strip.
        ResumeOffByOne,
        /// A band that kills every worker is tried for ever.
        BlameForgotten,
        /// The payload of an acknowledged tile is kept.
        PayloadNotReleased,
        /// The same key again makes another job.
        DuplicateKeyMakesAJob,
        /// A job whose client never comes back stays.
        GraceForgotten,
        /// The bands of a job that ended are not withdrawn, but stay leased.
        EndedJobsLeasesForgotten,
        /// The mirror of a band is leased to a worker, and its job does not know.
        MirrorNotLeased,
        /// The slower of two that try a band goes on when the faster has delivered it.
        LoserNotWithdrawn,
        /// A tile with a strip missing is taken.
        TileNotChecked,
        /// A detached job is promised before it is on disk.
        PromisedBeforeDisk,
        /// A detached job that is cancelled is not over on disk, and comes back.
        EndsAreNotPutOnDisk,
        /// What is damaged on disk is read again and again.
        DamageNotMended,
        /// What was charged for a band that was handed back stays charged.
        ChargeOfUndoneKept,
        /// What a job spent is charged to its account twice.
        AccountPaysTwice,
        /// An account keeps its turn when it has had it.
        AccountNotMoved,
        /// One account may have as many jobs as all together.
        AccountsNotBounded,
        /// A detached job that is held ends when the last who follows it leaves.
        HoldersAreNotAsked,
        /// A detached job that nobody holds goes on when the last who follows it has left.
        UnwantedJobsStay,
        /// Who wants a job no longer counts on.
        WithdrawnHoldersStay,
        /// Who joins a job that is not on disk is promised it at once.
        JoinedBeforeDisk,
        /// A band that waits is asked back again and again.
        AskedTwice,
    }

    thread_local! {
        static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    pub(crate) fn is_active(bug: Bug) -> bool {
        ACTIVE.get() == Some(bug)
    }

    /// Runs `body` with a bug on this thread.
    pub(crate) fn with<T>(bug: Option<Bug>, body: impl FnOnce() -> T) -> T {
        struct Restore;
        impl Drop for Restore {
            fn drop(&mut self) {
                ACTIVE.set(None);
            }
        }
        ACTIVE.set(bug);
        let _restore = Restore;
        body()
    }
}
