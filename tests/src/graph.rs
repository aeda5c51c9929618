use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cargo_metadata::{DependencyKind, Metadata};

/// Who links whom, by package name; versions of one name are one node.
#[derive(Clone, Debug, Default)]
pub struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    /// Normal and build dependencies of a resolved workspace; development ones are not linked.
    pub fn of(metadata: &Metadata) -> Self {
        let names: BTreeMap<_, _> =
            metadata.packages.iter().map(|package| (&package.id, package.name.to_string())).collect();
        let mut graph = Self::default();
        for node in &metadata.resolve.as_ref().expect("a resolved graph").nodes {
            let linked = node
                .deps
                .iter()
                .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development));
            let edges = graph.0.entry(names[&node.id].clone()).or_default();
            edges.extend(linked.map(|dep| names[&dep.pkg].clone()));
        }
        graph
    }

    /// A made-up one.
    pub fn from_edges(edges: &[(&str, &str)]) -> Self {
        let mut graph = Self::default();
        for (from, to) in edges {
            graph.0.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            graph.0.entry((*to).to_owned()).or_default();
        }
        graph
    }

    /// The shortest way from `crate_name` to a package that `known` finds, both ends included;
    /// nothing when it knows none. Panics when there is no such crate: a sentence about a crate
    /// that was renamed would hold for ever.
    pub fn path(&self, crate_name: &str, known: impl Fn(&str) -> bool) -> Option<Vec<String>> {
        assert!(self.0.contains_key(crate_name), "no crate {crate_name}");
        let mut came_from = BTreeMap::from([(crate_name, None)]);
        let mut queue = VecDeque::from([crate_name]);
        while let Some(at) = queue.pop_front() {
            if at != crate_name && known(at) {
                let way = std::iter::successors(Some(at), |name| came_from[name]);
                let mut way: Vec<_> = way.map(str::to_owned).collect();
                way.reverse();
                return Some(way);
            }
            for next in &self.0[at] {
                if !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, Some(at));
                    queue.push_back(next);
                }
            }
        }
        None
    }
}
