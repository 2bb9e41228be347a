//! The contract of every kind of DAG folder.

use dcp_reconciler::publish::{DagFile, Error, File, GENERATED_HEADER};

use crate::fixture::{Fixture, SPECIAL_NAME, expected, file, files};

/// Defines a test of each case for one kind of folder.
macro_rules! suite {
    ($fixture:path: $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                let fixture = $fixture();
                $crate::fixture::wait($crate::contract::cases::$case(&fixture));
            }
        )*
    };
    ($fixture:path) => {
        $crate::contract::suite! { $fixture:
            staged_files_are_no_dags_until_they_are_switched
            a_switch_replaces_and_can_be_done_again
            lost_files_are_reported
            staging_again_replaces_staged_files
            leftovers_are_listed_and_discarded
            put_and_remove_are_idempotent
            only_generated_files_are_listed_and_read
            foreign_files_are_never_changed
            names_and_ids_and_texts_are_checked
            empty_sets_of_files_are_accepted
        }
    };
}
pub(crate) use suite;

mod disk {
    super::suite!(crate::fixture::Fixture::disk);
}

mod memory {
    super::suite!(crate::fixture::Fixture::memory);
}

pub(crate) mod cases {
    use super::*;

    pub(crate) async fn staged_files_are_no_dags_until_they_are_switched(fixture: &Fixture) {
        let new = [file("a.py", "1"), file(SPECIAL_NAME, "2")];
        fixture.folder.stage("7-x", &new).await.expect("they can be staged");
        assert_eq!(fixture.dags().await, expected(&[]));
        let staged: Vec<_> = fixture.all().await.into_keys().collect();
        assert_eq!(
            staged,
            [".dcp-staged/7-x/a.py.staged".to_owned(), format!(".dcp-staged/7-x/{SPECIAL_NAME}.staged")]
        );
        fixture.folder.switch("7-x", &new).await.expect("they are staged");
        assert_eq!(fixture.all().await, expected(&new));
    }

    pub(crate) async fn a_switch_replaces_and_can_be_done_again(fixture: &Fixture) {
        fixture.folder.put(&files(3, "old")).await.expect("they can be written");
        let new = files(2, "new");
        fixture.folder.stage("1", &new).await.expect("they can be staged");
        // Simulates a switch that was interrupted after the first file.
        fixture.folder.switch("1", &new[..1]).await.expect("it is staged");
        assert_eq!(fixture.folder.leftovers().await, Ok(vec!["1".to_owned()]));
        for _ in 0..2 {
            fixture.folder.switch("1", &new).await.expect("they are staged, or in place");
        }
        let all = [new.as_slice(), &files(3, "old")[2..]].concat();
        assert_eq!(fixture.all().await, expected(&all));
        assert_eq!(fixture.folder.leftovers().await, Ok(Vec::new()));
    }

    pub(crate) async fn lost_files_are_reported(fixture: &Fixture) {
        let [old, new] = [file("a.py", "old"), file("a.py", "new")];
        let lost = |found| match found {
            Err(Error::NotStaged { id, files }) => (id, files.len(), files.concat()),
            other => unreachable!("{other:?}"),
        };
        let found = fixture.folder.switch("1", std::slice::from_ref(&new)).await;
        assert!(lost(found).2.ends_with("a.py"));
        fixture.folder.put(std::slice::from_ref(&old)).await.expect("it can be written");
        fixture.folder.stage("1", &[file("b.py", "new")]).await.expect("it can be staged");
        let (id, count, _) = lost(fixture.folder.switch("1", &[file("b.py", "new"), new.clone()]).await);
        assert_eq!((id.as_str(), count), ("1", 1), "an older text in place is not what was to be");
        assert_eq!(fixture.dags().await, expected(&[old]), "nothing is switched where something is missing");
        // A partial staged file counts as missing.
        fixture.write(".dcp-staged/2/a.py.staged", &new.content[..new.content.len() - 1]).await;
        lost(fixture.folder.switch("2", &[new]).await);
    }

    pub(crate) async fn staging_again_replaces_staged_files(fixture: &Fixture) {
        fixture.folder.stage("1", &files(3, "old")).await.expect("they can be staged");
        fixture.folder.stage("1", &files(1, "new")).await.expect("they can be staged again");
        fixture.folder.switch("1", &files(1, "new")).await.expect("they are staged");
        assert_eq!(fixture.all().await, expected(&files(1, "new")));
    }

    pub(crate) async fn leftovers_are_listed_and_discarded(fixture: &Fixture) {
        for id in ["b", "a", "c"] {
            fixture.folder.stage(id, &files(2, id)).await.expect("they can be staged");
        }
        fixture.folder.switch("c", &files(2, "c")).await.expect("they are staged");
        assert_eq!(fixture.folder.leftovers().await, Ok(vec!["a".to_owned(), "b".to_owned()]));
        for id in ["a", "a", "b", "none"] {
            fixture.folder.discard(id).await.expect("what is not there is fine");
        }
        assert_eq!(fixture.folder.leftovers().await, Ok(Vec::new()));
        assert_eq!(fixture.all().await, expected(&files(2, "c")));
    }

    pub(crate) async fn put_and_remove_are_idempotent(fixture: &Fixture) {
        for text in ["old", "new", "new"] {
            fixture.folder.put(&files(2, text)).await.expect("they can be written");
            assert_eq!(fixture.all().await, expected(&files(2, text)));
        }
        let names = ["dag-0.py".to_owned(), "none.py".to_owned()];
        for _ in 0..2 {
            fixture.folder.remove(&names).await.expect("what is not there is fine");
            assert_eq!(fixture.all().await, expected(&files(2, "new")[1..]));
        }
    }

    pub(crate) async fn only_generated_files_are_listed_and_read(fixture: &Fixture) {
        let ours = [file(SPECIAL_NAME, "x"), file("a.py", "xyz")];
        fixture.folder.put(&ours).await.expect("they can be written");
        fixture.folder.stage("1", &ours).await.expect("they can be staged");
        for (path, text) in [
            ("theirs.py", "# by hand\n"),
            ("empty.py", ""),
            ("sub/ours.py", &ours[0].content),
            ("notes.txt", &ours[0].content),
            (".hidden.py", &ours[0].content),
        ] {
            fixture.write(path, text).await;
        }
        let listed = |file: &File| DagFile { name: file.name.clone(), size: file.content.len() as u64 };
        assert_eq!(fixture.folder.list().await, Ok(vec![listed(&ours[1]), listed(&ours[0])]));
        let read = fixture.folder.read(SPECIAL_NAME).await;
        assert_eq!(read, Ok(Some(ours[0].content.clone().into_bytes())));
        assert_eq!(fixture.folder.read("none.py").await, Ok(None));
        for theirs in ["theirs.py", "empty.py"] {
            let refused = fixture.folder.read(theirs).await;
            assert!(matches!(&refused, Err(Error::ForeignFiles(_))), "{refused:?}");
        }
    }

    pub(crate) async fn foreign_files_are_never_changed(fixture: &Fixture) {
        let new = [file("a.py", "new"), file("hand.py", "new")];
        fixture.folder.stage("1", &new).await.expect("nobody's file is in the way yet");
        fixture.write("hand.py", "# by hand\n").await;
        let before = fixture.all().await;
        let names = ["a.py".to_owned(), "hand.py".to_owned()];
        for refused in [
            fixture.folder.stage("2", &new).await,
            fixture.folder.switch("1", &new).await,
            fixture.folder.put(&new).await,
            fixture.folder.remove(&names).await,
        ] {
            let Err(Error::ForeignFiles(places)) = &refused else { unreachable!("{refused:?}") };
            assert!(places.len() == 1 && places[0].ends_with("/hand.py"), "{places:?}");
            assert!(refused.expect_err("it is one").help().is_some_and(|help| help.contains("rename")));
            assert_eq!(fixture.all().await, before);
        }
    }

    pub(crate) async fn names_and_ids_and_texts_are_checked(fixture: &Fixture) {
        let long = format!("{}.py", "x".repeat(250));
        for name in
            ["", ".py", "a", "a.txt", "../a.py", "/a.py", "a/b.py", "a\\b.py", ".a.py", "a\n.py", &long]
        {
            let refused = fixture.folder.put(&[file(name, "x")]).await;
            assert!(matches!(refused, Err(Error::Name { .. })), "{name:?}: {refused:?}");
            let refused = fixture.folder.remove(&[name.to_owned()]).await;
            assert!(matches!(refused, Err(Error::Name { .. })), "{name:?}: {refused:?}");
        }
        let refused = fixture.folder.put(&[file("a.py", "1"), file("a.py", "2")]).await;
        assert!(matches!(refused, Err(Error::Name { why: "it is given twice", .. })), "{refused:?}");
        for id in ["", "..", "a/b", "a.b", "a b"] {
            let refused = fixture.folder.stage(id, &[file("a.py", "x")]).await;
            assert_eq!(refused, Err(Error::Id(id.to_owned())));
            assert_eq!(fixture.folder.discard(id).await, Err(Error::Id(id.to_owned())));
        }
        let unmarked = File { name: "a.py".to_owned(), content: format!(" {GENERATED_HEADER}") };
        let refused = fixture.folder.put(&[unmarked]).await;
        assert_eq!(refused, Err(Error::MissingHeader { name: "a.py".to_owned() }));
        assert_eq!(fixture.all().await, expected(&[]));
    }

    pub(crate) async fn empty_sets_of_files_are_accepted(fixture: &Fixture) {
        fixture.folder.stage("1", &[]).await.expect("nothing can be staged");
        fixture.folder.switch("1", &[]).await.expect("nothing can be switched");
        fixture.folder.put(&[]).await.expect("nothing can be written");
        assert_eq!(fixture.folder.list().await, Ok(Vec::new()));
        assert_eq!(fixture.folder.leftovers().await, Ok(Vec::new()));
    }
}

#[test]
fn the_template_begins_with_the_mark() {
    let template = include_str!("../../../templates/dag.py.hbs");
    assert!(template.starts_with(GENERATED_HEADER));
}
