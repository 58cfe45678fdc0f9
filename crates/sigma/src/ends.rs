//! The counts of all windows of a group, by where they end.
//!
//! A match adds one to the windows that end within a stretch of time: from the match for a timespan, less where the
//! same value is counted already. So the count of a window is the sum of all changes up to its end, and a balanced
//! tree (AVL) of the changes by time, which knows the sum of each subtree and the lowest and highest count within it,
//! takes a match and finds a window whose count is enough in logarithmic time, wherever on the line of time they lie.

use std::cmp::Ordering;

type Link = Option<Box<Node>>;

/// Changes of the count, and the times at which windows end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    root: Link,
}

#[derive(Clone, Debug)]
struct Node {
    at_us: i64,
    /// By how much the count changes here.
    change: i32,
    /// How many matches have this time: if any, a window ends here.
    matches: u32,
    /// Of this subtree: all changes, and the lowest and highest count at an end, if it has one, less those before it.
    sum: i32,
    range: Option<(i32, i32)>,
    height: i8,
    left: Link,
    right: Link,
}

impl Ends {
    /// Whether there is no end.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Notes a match of this time, which counts in the windows that end from `from_us` and before `until_us`.
    pub(crate) fn add(&mut self, at_us: i64, from_us: i64, until_us: i64) {
        self.change(at_us, from_us, until_us, 1);
    }

    /// Takes back what was noted by the same numbers.
    pub(crate) fn remove(&mut self, at_us: i64, from_us: i64, until_us: i64) {
        self.change(at_us, from_us, until_us, -1);
    }

    fn change(&mut self, at_us: i64, from_us: i64, until_us: i64, by: i32) {
        let (from, until) = if from_us < until_us { (by, -by) } else { (0, 0) };
        if from_us == at_us {
            self.root = changed(self.root.take(), at_us, from, by);
        } else {
            self.root = changed(self.root.take(), at_us, 0, by);
            self.root = changed(self.root.take(), from_us, from, 0);
        }
        self.root = changed(self.root.take(), until_us, until, 0);
    }

    /// The first end within these times, both included, whose count is wanted. `possible` says whether any count of a
    /// range may be; of a range of one it must be exact. Where it is exact of every range, as it is of a condition
    /// with one bound, the search is logarithmic; else it ends when `steps` are used up.
    pub(crate) fn first(
        &self,
        from_us: i64,
        to_us: i64,
        possible: &dyn Fn(i64, i64) -> bool,
        steps: &mut usize,
    ) -> Option<i64> {
        Search { from_us, to_us, possible, steps }.first(&self.root, 0)
    }
}

struct Search<'s> {
    from_us: i64,
    to_us: i64,
    possible: &'s dyn Fn(i64, i64) -> bool,
    steps: &'s mut usize,
}

impl Search<'_> {
    fn first(&mut self, link: &Link, before: i32) -> Option<i64> {
        let node = link.as_deref()?;
        let (low, high) = node.range?;
        if *self.steps == 0 || !self.possible(before + low, before + high) {
            return None;
        }
        *self.steps -= 1;
        let count = before + sum(&node.left) + node.change;
        if node.at_us > self.from_us
            && let found @ Some(_) = self.first(&node.left, before)
        {
            return found;
        }
        let within = (self.from_us..=self.to_us).contains(&node.at_us);
        if within && node.matches > 0 && self.possible(count, count) {
            return Some(node.at_us);
        }
        if node.at_us < self.to_us { self.first(&node.right, count) } else { None }
    }

    fn possible(&self, low: i32, high: i32) -> bool {
        (self.possible)(i64::from(low), i64::from(high))
    }
}

/// The tree with a change at a time; a node that changes nothing and ends nothing goes.
fn changed(link: Link, at_us: i64, change: i32, matches: i32) -> Link {
    if change == 0 && matches == 0 {
        return link;
    }
    let Some(mut node) = link else {
        let (sum, range, height) = (0, None, 0);
        let matches = matches.unsigned_abs();
        return Some(Box::new(Node { at_us, change, matches, sum, range, height, left: None, right: None }.noted()));
    };
    match at_us.cmp(&node.at_us) {
        Ordering::Less => node.left = changed(node.left.take(), at_us, change, matches),
        Ordering::Greater => node.right = changed(node.right.take(), at_us, change, matches),
        Ordering::Equal => {
            node.change += change;
            node.matches = node.matches.saturating_add_signed(matches);
            if node.change == 0 && node.matches == 0 {
                return joined(node.left.take(), node.right.take());
            }
        }
    }
    Some(balanced(node))
}

/// Two trees, all of whose times are in order, as one.
fn joined(left: Link, right: Link) -> Link {
    let Some(right) = right else { return left };
    let (mut first, rest) = split(right);
    first.left = left;
    first.right = rest;
    Some(balanced(first))
}

/// The first node of a tree, and the others.
fn split(mut node: Box<Node>) -> (Box<Node>, Link) {
    match node.left.take() {
        None => {
            let rest = node.right.take();
            (node, rest)
        }
        Some(left) => {
            let (first, rest) = split(left);
            node.left = rest;
            (first, Some(balanced(node)))
        }
    }
}

/// A node whose subtrees differ by two in height at most, such that they differ by one.
fn balanced(mut node: Box<Node>) -> Box<Node> {
    let lean = height(&node.left) - height(&node.right);
    if lean > 1 {
        node.left = node.left.map(|left| if left.lean() < 0 { rotated_left(left) } else { left });
        return rotated_right(node);
    }
    if lean < -1 {
        node.right = node.right.map(|right| if right.lean() > 0 { rotated_right(right) } else { right });
        return rotated_left(node);
    }
    node.note();
    node
}

fn rotated_left(mut node: Box<Node>) -> Box<Node> {
    let Some(mut top) = node.right.take() else { return node };
    node.right = top.left.take();
    node.note();
    top.left = Some(node);
    top.note();
    top
}

fn rotated_right(mut node: Box<Node>) -> Box<Node> {
    let Some(mut top) = node.left.take() else { return node };
    node.left = top.right.take();
    node.note();
    top.right = Some(node);
    top.note();
    top
}

impl Node {
    fn noted(mut self) -> Node {
        self.note();
        self
    }

    /// Sums up its subtrees and itself.
    fn note(&mut self) {
        let count = sum(&self.left) + self.change;
        let own = (self.matches > 0).then_some((count, count));
        let left = self.left.as_deref().and_then(|left| left.range);
        let right = self.right.as_deref().and_then(|right| right.range);
        let right = right.map(|(low, high)| (low + count, high + count));
        let ranges = [left, own, right].into_iter().flatten();
        self.range = ranges.reduce(|(low, high), (l, h)| (low.min(l), high.max(h)));
        self.sum = count + sum(&self.right);
        self.height = 1 + height(&self.left).max(height(&self.right));
    }

    fn lean(&self) -> i8 {
        height(&self.left) - height(&self.right)
    }
}

fn sum(link: &Link) -> i32 {
    link.as_deref().map_or(0, |node| node.sum)
}

fn height(link: &Link) -> i8 {
    link.as_deref().map_or(0, |node| node.height)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every end and its count, by asking.
    fn counts(ends: &Ends) -> Vec<(i64, i64)> {
        let mut counts = Vec::new();
        let mut from = i64::MIN;
        while let Some(end) = ends.first(from, i64::MAX, &|_, _| true, &mut 1_000) {
            let is =
                |count: i64| ends.first(end, end, &|low, high| low <= count && count <= high, &mut 1_000).is_some();
            counts.push((end, (0..1_000).find(|count| is(*count)).expect("it has a count")));
            from = end + 1;
        }
        counts
    }

    #[test]
    fn counts_are_those_of_the_stretches() {
        let mut ends = Ends::default();
        let mut noted: Vec<[i64; 3]> = Vec::new();
        let mut random = 1_u64;
        for step in 0..600 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = |shift: u32, below: i64| (random >> shift) as i64 % below;
            if number(34, 5) < 2 && !noted.is_empty() {
                let [at, from, until] = noted.swap_remove(number(40, noted.len() as i64) as usize);
                ends.remove(at, from, until);
            } else {
                let (at, from) = (number(35, 100), number(45, 100));
                let until = from + number(50, 30) - 3;
                ends.add(at, from, until);
                noted.push([at, from, until]);
            }
            let mut times: Vec<i64> = noted.iter().map(|one| one[0]).collect();
            times.sort_unstable();
            times.dedup();
            let count = |end: i64| noted.iter().filter(|one| one[1] <= end && end < one[2]).count() as i64;
            let expected: Vec<(i64, i64)> = times.into_iter().map(|end| (end, count(end))).collect();
            assert_eq!(counts(&ends), expected, "{step}");
        }
        for [at, from, until] in noted {
            ends.remove(at, from, until);
        }
        assert!(ends.is_empty());
    }

    #[test]
    fn it_stays_flat_and_searches_stay_short() {
        let mut ends = Ends::default();
        for at in 0..20_000 {
            ends.add(at, at, at + 500);
            if at >= 10_000 {
                ends.remove(at - 10_000, at - 10_000, at - 9_500);
            }
        }
        // 1.44 times the logarithm of some 10,500 nodes.
        assert!(height(&ends.root) <= 20, "{}", height(&ends.root));
        let mut steps = 1_000;
        assert_eq!(ends.first(10_001, 20_000, &|_, high| high >= 500, &mut steps), Some(10_499));
        assert!(steps > 900, "{steps}");
        // Ends that are not wanted, all of them looked at: it gives up.
        let mut steps = 100;
        assert_eq!(ends.first(10_001, 19_999, &|low, high| low <= 600 && high >= 501 || low < high, &mut steps), None);
        assert_eq!(steps, 0);
    }
}
