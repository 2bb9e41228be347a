use super::*;
use crate::source::FileId;

fn node(name: &str) -> Node {
    let at = Span::new(FileId(1), 0, 1);
    Node {
        domain: "d".to_owned(),
        name: name.to_owned(),
        job: JobKind::Sql,
        run: RunKind::OnAssets,
        at,
        reads: Vec::new(),
        writes: Vec::new(),
        shared: Vec::new(),
        waits: Vec::new(),
        checkpoint: None,
        member: None,
    }
}

#[test]
fn number_of_suggestions_is_limited() {
    let link = |name: &str| {
        let dataset = Dataset::new(DatasetKind::Table, name);
        Link { dataset, at: Span::new(FileId(1), 0, 1) }
    };
    let mut nodes = vec![Node { writes: vec![link("lake.raw.orders")], ..node("writer") }];
    for at in 0..=MAX_SUGGESTIONS {
        nodes.push(Node { waits: vec![link("lake.raw.order")], ..node(&format!("waits-{at}")) });
    }
    let found = Graph::new(nodes).check(&|_| false);
    let meant = found.iter().filter(|it| it.labels[0].text == "did you mean `lake.raw.orders`?");
    assert_eq!((found.len(), meant.count()), (MAX_SUGGESTIONS + 1, MAX_SUGGESTIONS));
}
