//! Marked-up text in which nothing can be written that is not escaped: names of elements and attributes are the program's own,
//! all else is text. What is written is well-formed XML as well as HTML.

use std::fmt::{Display, Write};

use crate::text::harmless;

/// Names and values.
pub(crate) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

/// A piece of a page.
#[derive(Debug, Default)]
pub(crate) struct Markup {
    text: String,
}

impl Markup {
    /// An element with what `inside` writes in it.
    pub(crate) fn element(&mut self, name: &'static str, attributes: Attributes<'_>, inside: impl FnOnce(&mut Self)) {
        self.start(name, attributes);
        self.text.push('>');
        inside(self);
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }

    /// An element with a text in it.
    pub(crate) fn leaf(&mut self, name: &'static str, attributes: Attributes<'_>, text: impl Display) {
        self.element(name, attributes, |inside| inside.text(text));
    }

    /// An element that has no end in HTML, such as `meta`.
    pub(crate) fn void(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.start(name, attributes);
        self.text.push_str("/>");
    }

    /// A text.
    pub(crate) fn text(&mut self, text: impl Display) {
        for c in harmless(&text.to_string()).chars() {
            match c {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                '\'' => self.text.push_str("&#39;"),
                c => self.text.push(c),
            }
        }
    }

    /// A style sheet, or a declaration, of the program's own.
    pub(crate) fn constant(&mut self, text: &'static str) {
        self.text.push_str(text);
    }

    /// What was written.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn start(&mut self, name: &'static str, attributes: Attributes<'_>) {
        // A line for each element of the page's frame, so that a page can be read, and compared with another.
        if matches!(
            name,
            "html" | "head" | "body" | "section" | "figure" | "table" | "tr" | "svg" | "g" | "meta" | "h2" | "div" | "dl" | "ul"
        ) {
            self.text.push('\n');
        }
        self.text.push('<');
        self.text.push_str(name);
        for (attribute, value) in attributes {
            let _ = write!(self.text, " {attribute}=\"");
            self.text(value);
            self.text.push('"');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::HOSTILE;

    #[test]
    fn whatever_is_written_is_text() {
        for hostile in HOSTILE {
            let mut markup = Markup::default();
            markup.leaf("p", &[("title", &hostile)], hostile);
            let written = markup.finish();
            let document = roxmltree::Document::parse(&written).unwrap();
            let expected = harmless(hostile);
            assert_eq!(document.descendants().filter(roxmltree::Node::is_element).count(), 1, "{written}");
            assert_eq!(document.root_element().text(), Some(&*expected));
            assert_eq!(document.root_element().attribute("title"), Some(&*expected));
        }
    }
}
