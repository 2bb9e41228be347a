use dcp_compiler::{compile::*, project::Project, source::*};
struct L;
impl SourceLoader for L {
    fn load(&self, p: &str) -> Result<String, LoadError> {
        std::fs::read_to_string(p).map_err(|e| LoadError::Other(e.to_string()))
    }
}
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args[0] == "schema" {
        print!("{}", dcp_compiler::schema::MANIFEST.text());
        return;
    }
    let ptext = std::fs::read_to_string("dcp.yaml").unwrap_or_default();
    let project = if ptext.is_empty() {
        Project::none()
    } else {
        let (p, d) = Project::read(FileId(0), &ptext, None);
        println!("{d:?}");
        p.unwrap()
    };
    let c = Compiler {
        project: &project,
        project_source: Some(SourceFile { path: "dcp.yaml".into(), text: ptext.as_str().into() }),
        goal: Goal::Compile,
    };
    let all = args.iter().enumerate().map(|(i, p)| c.analyze(i, p, &L)).collect();
    let done = c.link(all);
    for d in &done.diagnostics {
        println!("{} {} {}", d.severity.name(), d.code, d.message);
        for l in &d.labels {
            let (line, col) = done.sources.position(l.span.file, l.span.start);
            let f = done.sources.get(l.span.file);
            println!(
                "    {}:{line}:{col} [{}] {}",
                f.path,
                f.text.get(l.span.range()).unwrap_or("?"),
                l.text
            );
        }
        if let Some(h) = &d.help {
            println!("    help: {h}");
        }
    }
    for p in &done.primitives {
        println!("{} {}", p.address, p.fingerprint.short());
        println!("{}", p.body.canonical());
        if let dcp_compiler::primitive::Body::Orchestrator(o) = &p.body {
            println!("{}", o.content);
        }
    }
}
