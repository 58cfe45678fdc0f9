//! What all windows of a group add up to, by where they end.
//!
//! A match adds one, or its amount, to the windows that end within a stretch of time: from the match for a timespan, less
//! where the same value is counted already. So the sum of a window is that of all changes up to its end, and a balanced
//! tree (AVL) of the changes by time, which knows the sum of each subtree and the highest sum within it, takes a match
//! and finds the first window that is enough in logarithmic time, wherever on the line of time they lie.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::ops::{Add, Neg};

/// What windows add up: small numbers where matches or values are counted, large ones where amounts are.
pub(crate) trait Weight: Add<Output = Self> + Copy + Debug + Default + Neg<Output = Self> + Ord {}

impl Weight for i32 {}
impl Weight for i128 {}

type Link<W> = Option<Box<Node<W>>>;

/// Changes of the sum, and the times at which windows end.
#[derive(Clone, Debug)]
pub(crate) struct Ends<W> {
    root: Link<W>,
}

#[derive(Clone, Debug)]
struct Node<W> {
    at_us: i64,
    /// By how much the sum changes here.
    change: W,
    /// How many matches have this time: if any, a window ends here.
    matches: u32,
    /// Of this subtree: all changes, and the highest sum at an end, if it has one, less what is before it.
    sum: W,
    highest: Option<W>,
    height: i8,
    left: Link<W>,
    right: Link<W>,
}

impl<W: Weight> Ends<W> {
    pub(crate) fn new() -> Ends<W> {
        Ends { root: None }
    }

    /// Notes a match of this time, which weighs so much in the windows that end from `from_us` and before `until_us`.
    pub(crate) fn add(&mut self, at_us: i64, from_us: i64, until_us: i64, weight: W) {
        self.change(at_us, from_us, until_us, weight, 1);
    }

    /// Takes back what was noted by the same numbers.
    pub(crate) fn remove(&mut self, at_us: i64, from_us: i64, until_us: i64, weight: W) {
        self.change(at_us, from_us, until_us, -weight, -1);
    }

    fn change(&mut self, at_us: i64, from_us: i64, until_us: i64, weight: W, matches: i32) {
        let (from, until) = if from_us < until_us { (weight, -weight) } else { (W::default(), W::default()) };
        if from_us == at_us {
            self.root = changed(self.root.take(), at_us, from, matches);
        } else {
            self.root = changed(self.root.take(), at_us, W::default(), matches);
            self.root = changed(self.root.take(), from_us, from, 0);
        }
        self.root = changed(self.root.take(), until_us, until, 0);
    }

    /// The first end from a time on whose window weighs enough.
    pub(crate) fn first(&self, from_us: i64, enough: W) -> Option<i64> {
        first(&self.root, W::default(), from_us, enough)
    }
}

fn first<W: Weight>(link: &Link<W>, before: W, from_us: i64, enough: W) -> Option<i64> {
    let node = link.as_deref()?;
    if before + node.highest? < enough {
        return None;
    }
    let sum = before + sum(&node.left) + node.change;
    if node.at_us > from_us
        && let found @ Some(_) = first(&node.left, before, from_us, enough)
    {
        return found;
    }
    if node.at_us >= from_us && node.matches > 0 && sum >= enough {
        return Some(node.at_us);
    }
    first(&node.right, sum, from_us, enough)
}

/// The tree with a change at a time; a node that changes nothing and ends nothing goes.
fn changed<W: Weight>(link: Link<W>, at_us: i64, change: W, matches: i32) -> Link<W> {
    if change == W::default() && matches == 0 {
        return link;
    }
    let Some(mut node) = link else {
        let (sum, highest, height) = (W::default(), None, 0);
        let matches = matches.unsigned_abs();
        return Some(Box::new(Node { at_us, change, matches, sum, highest, height, left: None, right: None }.noted()));
    };
    match at_us.cmp(&node.at_us) {
        Ordering::Less => node.left = changed(node.left.take(), at_us, change, matches),
        Ordering::Greater => node.right = changed(node.right.take(), at_us, change, matches),
        Ordering::Equal => {
            node.change = node.change + change;
            node.matches = node.matches.saturating_add_signed(matches);
            if node.change == W::default() && node.matches == 0 {
                return joined(node.left.take(), node.right.take());
            }
        }
    }
    Some(balanced(node))
}

/// Two trees, all of whose times are in order, as one.
fn joined<W: Weight>(left: Link<W>, right: Link<W>) -> Link<W> {
    let Some(right) = right else { return left };
    let (mut first, rest) = split(right);
    first.left = left;
    first.right = rest;
    Some(balanced(first))
}

/// The first node of a tree, and the others.
fn split<W: Weight>(mut node: Box<Node<W>>) -> (Box<Node<W>>, Link<W>) {
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
fn balanced<W: Weight>(mut node: Box<Node<W>>) -> Box<Node<W>> {
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

fn rotated_left<W: Weight>(mut node: Box<Node<W>>) -> Box<Node<W>> {
    let Some(mut top) = node.right.take() else { return node };
    node.right = top.left.take();
    node.note();
    top.left = Some(node);
    top.note();
    top
}

fn rotated_right<W: Weight>(mut node: Box<Node<W>>) -> Box<Node<W>> {
    let Some(mut top) = node.left.take() else { return node };
    node.left = top.right.take();
    node.note();
    top.right = Some(node);
    top.note();
    top
}

impl<W: Weight> Node<W> {
    fn noted(mut self) -> Node<W> {
        self.note();
        self
    }

    /// Sums up its subtrees and itself.
    fn note(&mut self) {
        let count = sum(&self.left) + self.change;
        let own = (self.matches > 0).then_some(count);
        let left = self.left.as_deref().and_then(|left| left.highest);
        let right = self.right.as_deref().and_then(|right| right.highest).map(|highest| highest + count);
        self.highest = [left, own, right].into_iter().flatten().max();
        self.sum = count + sum(&self.right);
        self.height = 1 + height(&self.left).max(height(&self.right));
    }

    fn lean(&self) -> i8 {
        height(&self.left) - height(&self.right)
    }
}

fn sum<W: Weight>(link: &Link<W>) -> W {
    link.as_deref().map_or(W::default(), |node| node.sum)
}

fn height<W>(link: &Link<W>) -> i8 {
    link.as_deref().map_or(0, |node| node.height)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every end and its sum, by asking.
    fn sums(ends: &Ends<i128>) -> Vec<(i64, i128)> {
        let mut sums = Vec::new();
        let mut from = i64::MIN;
        while let Some(end) = ends.first(from, -1_000) {
            let highest = (-1_000..1_000).rev().find(|sum| ends.first(end, *sum) == Some(end));
            sums.push((end, highest.expect("it has a sum")));
            from = end + 1;
        }
        sums
    }

    #[test]
    fn sums_are_those_of_the_stretches() {
        let mut ends = Ends::new();
        let mut noted: Vec<([i64; 3], i128)> = Vec::new();
        let mut random = 1_u64;
        for step in 0..600 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = |shift: u32, below: i64| (random >> shift) as i64 % below;
            if number(34, 5) < 2 && !noted.is_empty() {
                let ([at, from, until], weight) = noted.swap_remove(number(40, noted.len() as i64) as usize);
                ends.remove(at, from, until, weight);
            } else {
                let (at, from) = (number(35, 100), number(45, 100));
                let until = from + number(50, 30) - 3;
                let weight = i128::from(number(53, 9) - 2);
                ends.add(at, from, until, weight);
                noted.push(([at, from, until], weight));
            }
            let mut times: Vec<i64> = noted.iter().map(|(times, _)| times[0]).collect();
            times.sort_unstable();
            times.dedup();
            let holds = |end: i64, one: &[i64; 3]| one[1] <= end && end < one[2];
            let sum = |end: i64| noted.iter().filter(|(one, _)| holds(end, one)).map(|(_, weight)| weight).sum();
            let expected: Vec<(i64, i128)> = times.into_iter().map(|end| (end, sum(end))).collect();
            assert_eq!(sums(&ends), expected, "{step}");
        }
        for ([at, from, until], weight) in noted {
            ends.remove(at, from, until, weight);
        }
        assert!(ends.root.is_none());
    }

    #[test]
    fn it_stays_flat() {
        let mut ends = Ends::new();
        for at in 0..20_000 {
            ends.add(at, at, at + 500, 1_i32);
            if at >= 10_000 {
                ends.remove(at - 10_000, at - 10_000, at - 9_500, 1);
            }
        }
        // 1.44 times the logarithm of some 10,500 nodes.
        assert!(height(&ends.root) <= 20, "{}", height(&ends.root));
        assert_eq!(ends.first(10_001, 500), Some(10_499));
        assert_eq!(ends.first(10_001, 501), None);
    }
}
