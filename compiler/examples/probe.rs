fn main() {
    let arg = std::env::args().nth(1).unwrap();
    if arg == "schema" { print!("{}", dcp_compiler::schema::MANIFEST.text()); return; }
    let text = std::fs::read_to_string(arg).unwrap();
    let parsed = dcp_compiler::yaml::parse(dcp_compiler::source::FileId(0), &text);
    let mut all = parsed.diagnostics;
    for mut t in parsed.documents {
        all.extend(dcp_compiler::schema::check(&dcp_compiler::schema::MANIFEST, &mut t));
        match t.root().decode::<dcp_compiler::model::Manifest>() { Ok(m) => println!("{}", serde_json::to_string_pretty(&m).unwrap()), Err(e) => println!("DECODE {e:?}") }
    }
    for d in all { println!("{} {} | {:?} | {:?}", d.code, d.message, d.labels.iter().map(|l| (&text[l.span.range()], &l.text)).collect::<Vec<_>>(), d.help); }
}
