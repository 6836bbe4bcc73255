//! Texts that others wrote, and lines that are not too long.

/// A text without anything that would give orders to a terminal, or change the direction or the place of what stands beside it.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if is_order(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Controls, ends of lines, changes of direction, marks and tags that nobody sees, and what XML does not know.
fn is_order(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Columns that a character takes, or more: no table of widths is worth a dependency here.
fn columns(c: char) -> usize {
    if u32::from(c) < 0x1100 { 1 } else { 2 }
}

/// A text in lines of at most `width` columns, broken at spaces, or within words that are longer than that; at least one line.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split_whitespace() {
        let length: usize = word.chars().map(columns).sum();
        if used > 0 && used + 1 + length > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        } else if used > 0 {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            if used > 0 && used + columns(c) > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += columns(c);
        }
    }
    lines.push(line);
    lines
}

/// The first `lines_max` of the lines of [`wrap`]; what is left out is told by three dots.
pub(crate) fn wrap_at_most(text: &str, width: usize, lines_max: usize) -> Vec<String> {
    let mut lines = wrap(text, width);
    if lines.len() > lines_max {
        lines.truncate(lines_max);
        if let Some(last) = lines.last_mut() {
            last.push('…');
        }
    }
    lines
}

/// `1 thread`, `2 threads`.
pub(crate) fn some(count: impl TryInto<u64>, one: &str) -> String {
    match count.try_into() {
        Ok(1) => format!("1 {one}"),
        count => format!("{} {one}s", crate::figure::thousands(&count.unwrap_or(u64::MAX).to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gives_orders_is_replaced_and_letters_stay() {
        assert_eq!(harmless("é\u{1b}[2J\u{202e}x\u{200b}\u{2028}\u{0}日本"), "é\u{fffd}[2J\u{fffd}x\u{fffd}\u{fffd}\u{fffd}日本");
    }

    #[test]
    fn lines_break_at_spaces_and_within_words_that_are_too_long() {
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("abcdefgh i", 3), ["abc", "def", "gh", "i"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap_at_most("a b c", 1, 2), ["a", "b…"]);
    }

    #[test]
    fn one_is_singular() {
        assert_eq!([1_u32, 2, 1000].map(|count| some(count, "thread")), ["1 thread", "2 threads", "1,000 threads"]);
    }
}
