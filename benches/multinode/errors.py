"""What can go wrong, by who has to act, and what a signal does.

The exit codes are those of `run --help`. Nothing here prints; `run` does, once, at the end.
"""

import signal


class Failure(Exception):
    """A run that failed: a process, a host, a picture. What it measured before is kept."""

    code = 1


class Usage(Failure):
    """Options or a hosts file that cannot be used. Nothing was started."""

    code = 2


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP. Not an Exception, so that nobody takes it for a failure of a host."""

    code = 130


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raise_on_signals(say):
    """From now on the first signal raises Interrupted in the main thread; later ones are answered and change nothing."""

    def first(number, _frame):
        only_answer_signals(say)
        raise Interrupted(signal.Signals(number).name)

    answer_with(first)


def only_answer_signals(say):
    """From now on signals change nothing: what was started is being stopped."""
    answer_with(lambda _number, _frame: say("stopping already; give it half a minute"))


def answer_with(handler):
    for each in SIGNALS:
        # What the caller set to be ignored (`nohup`) stays so.
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, handler)
