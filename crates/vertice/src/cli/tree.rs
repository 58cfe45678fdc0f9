//! Things and what lies below them, drawn with lines.

use anyhow::Result;

use super::output::{Out, Tint};

/// Something and what lies below it.
#[derive(Debug, Default)]
pub struct Node {
    parts: Vec<(Tint, String)>,
    below: Vec<Node>,
}

impl Node {
    /// Something, in pieces with their tints.
    pub fn new(parts: Vec<(Tint, String)>) -> Node {
        Node { parts, below: Vec::new() }
    }

    /// A remark, less than the rest.
    pub fn remark(text: String) -> Node {
        Node::new(vec![(Tint::Faint, text)])
    }

    /// Puts something below it.
    pub fn push(&mut self, node: Node) {
        self.below.push(node);
    }

    /// Puts several things below it.
    pub fn extend(&mut self, nodes: impl IntoIterator<Item = Node>) {
        self.below.extend(nodes);
    }

    /// Prints it and all below it. What we print is four deep.
    pub fn print(&self, out: &mut Out) -> Result<()> {
        self.draw("", "", out)
    }

    /// `first` is drawn before its own line, `rest` before those below it.
    fn draw(&self, first: &str, rest: &str, out: &mut Out) -> Result<()> {
        let parts: Vec<(Tint, &str)> = std::iter::once((Tint::Faint, first))
            .chain(self.parts.iter().map(|(tint, text)| (*tint, text.as_str())))
            .collect();
        out.parts(&parts)?;
        for (i, node) in self.below.iter().enumerate() {
            let last = i + 1 == self.below.len();
            let (branch, trunk) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            node.draw(&format!("{rest}{branch}"), &format!("{rest}{trunk}"), out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use crate::cli::output::tests::printed;

    #[test]
    fn lines_lead_from_each_thing_to_what_lies_below() {
        let node = |text: &str| Node::new(vec![(Tint::Bold, text.to_owned())]);
        let (mut root, mut a, b) = (node("root"), node("a"), node("b\x1b[2J"));
        a.extend([node("a1"), Node::remark("a2".to_owned())]);
        root.extend([a, b]);
        let expected = "root\n├─ a\n│  ├─ a1\n│  └─ a2\n└─ b␛[2J\n";
        assert_eq!(printed(Format::Table, |out| root.print(out)), expected);
    }
}
