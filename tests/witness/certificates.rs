//! Certificates made by the `openssl` program: an authority, a good leaf, and the leaves that real servers get wrong.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::folder::Folder;

/// What is the matter with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// Signed by the authority for `localhost`, 127.0.0.1, 127.0.0.3 and ::1, valid for a year.
    Good,
    SelfSigned,
    /// Ended in 2021.
    Expired,
    /// Signed and valid, for another host's name.
    WrongName,
}

pub(crate) struct Certificates {
    folder: Folder,
}

const OURS: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:127.0.0.3,IP:::1";
const ANOTHER: &str = "subjectAltName=DNS:elsewhere.example.org";
const KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
];

impl Certificates {
    pub(crate) fn new() -> Self {
        let made = Self {
            folder: Folder::new("ca"),
        };
        let authority = [
            "req",
            "-x509",
            "-days",
            "30",
            "-subj",
            "/CN=Witness Test Authority",
        ];
        let extensions = [
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ];
        made.openssl(&[&authority[..], &KEY, &extensions].concat());
        made
    }

    /// The authority's certificate (PEM).
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Makes a leaf; gives its certificate and key (PEM).
    pub(crate) fn leaf(&self, kind: Leaf) -> (PathBuf, PathBuf) {
        match kind {
            Leaf::Good => self.issue(
                "good",
                OURS,
                &["-CA", "ca.pem", "-CAkey", "ca.key", "-days", "365"],
            ),
            Leaf::WrongName => self.issue(
                "wrong",
                ANOTHER,
                &["-CA", "ca.pem", "-CAkey", "ca.key", "-days", "365"],
            ),
            Leaf::SelfSigned => self.issue("self", OURS, &["-days", "365"]),
            Leaf::Expired => self.issue_expired(),
        }
    }

    fn issue(&self, name: &str, names: &str, how: &[&str]) -> (PathBuf, PathBuf) {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let subject = ["req", "-x509", "-subj", "/CN=localhost", "-addext", names];
        let end_entity = [
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ];
        self.openssl(&[&subject[..], &KEY, how, &end_entity].concat());
        (
            self.folder.path().join(certificate),
            self.folder.path().join(key),
        )
    }

    /// Only `openssl ca` can set dates in the past (`req` and `x509` before OpenSSL 3.4 cannot).
    fn issue_expired(&self) -> (PathBuf, PathBuf) {
        self.folder.write("index.txt", "");
        self.folder.write("serial", "1000\n");
        self.folder.write(
            "ca.cnf",
            "[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n\
             policy=p\ncopy_extensions=copy\n[p]\ncommonName=supplied\n",
        );
        let request = [
            "req",
            "-new",
            "-subj",
            "/CN=localhost",
            "-addext",
            OURS,
            "-keyout",
            "old.key",
            "-out",
            "old.csr",
        ];
        self.openssl(&[&request[..], &KEY].concat());
        let authority = [
            "ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key",
        ];
        let dates = [
            "-startdate",
            "20200101000000Z",
            "-enddate",
            "20210101000000Z",
            "-in",
            "old.csr",
            "-out",
            "old.pem",
        ];
        self.openssl(&[&authority[..], &dates].concat());
        (
            self.folder.path().join("old.pem"),
            self.folder.path().join("old.key"),
        )
    }

    fn openssl(&self, arguments: &[&str]) {
        let run = Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output();
        let run = run.expect("the openssl program");
        assert!(
            run.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
    }
}

/// One file with key and certificate, as Postfix' `smtpd_tls_chain_files` likes them.
pub(crate) fn chain_file(folder: &Folder, leaf: &(PathBuf, PathBuf)) -> PathBuf {
    let read = |path: &Path| std::fs::read_to_string(path).expect("a PEM file");
    folder.write("chain.pem", &(read(&leaf.1) + &read(&leaf.0)))
}
