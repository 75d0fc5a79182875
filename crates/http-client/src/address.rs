//! From a host's name to a TCP connection.

use emqttd_plugin_sdk::Context;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::sleep;

/// An address that has not answered for so long is not waited for: the next one is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);
/// Names that are looked up at a time. The system's resolver takes a thread for each, which nobody gets back from
/// it before it gives up; plugins have few of them.
const MOST_LOOKUPS: usize = 4;

/// Looks names up, each once at a time however many ask.
pub(crate) struct Resolver {
    ctx: Context,
    under_way: Arc<UnderWay>,
}

type UnderWay = Mutex<Questions>;
type Questions = HashMap<String, watch::Receiver<Option<Found>>>;
/// Addresses with port 0, or why there are none.
type Found = std::result::Result<Arc<[SocketAddr]>, Arc<str>>;

impl Resolver {
    pub fn new(ctx: &Context) -> Resolver {
        Resolver {
            ctx: ctx.clone(),
            under_way: Arc::default(),
        }
    }

    /// The addresses of a host, in the order in which they are to be tried.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let look = |host: String| async move { lookup_host((host, 0)).await.map(Vec::from_iter) };
        let mut answer = self.ask(host, look)?;
        let found = answer.wait_for(Option::is_some).await;
        let found = found.map_err(|_| Error::other("the plugin ends"))?;
        match found.as_ref() {
            Some(Ok(all)) => {
                let with_port = |a: &SocketAddr| SocketAddr::new(a.ip(), port);
                Ok(interleaved(all.iter().map(with_port)))
            }
            Some(Err(why)) => Err(Error::other(why.to_string())),
            // It was waited for.
            None => Err(Error::other("no answer")),
        }
    }

    /// The answer to a question that is under way, or asked now. It is waited for by a task of its own: who asked
    /// may give up, and the next one who asks finds the same question.
    fn ask<F, L>(&self, host: &str, look: L) -> Result<watch::Receiver<Option<Found>>>
    where
        F: Future<Output = Result<Vec<SocketAddr>>> + Send,
        L: FnOnce(String) -> F + Send + 'static,
    {
        let mut under_way = lock(&self.under_way);
        // A question whose task has ended without an answer is none.
        if let Some(answer) = under_way.get(host)
            && answer.has_changed().is_ok()
        {
            return Ok(answer.clone());
        }
        if under_way.len() >= MOST_LOOKUPS {
            return Err(Error::other("the name service does not answer"));
        }
        let (sender, answer) = watch::channel(None);
        under_way.insert(host.to_owned(), answer.clone());
        drop(under_way);
        let (host, all) = (host.to_owned(), Arc::clone(&self.under_way));
        let task = self.ctx.spawn(async move {
            let found = look(host.clone()).await;
            let found = found.map_err(|error| Arc::from(format!("name not found: {error}")));
            lock(&all).remove(&host);
            // Nobody may wait any more.
            let _ = sender.send(Some(found.map(Arc::from)));
        });
        drop(task);
        Ok(answer)
    }
}

fn lock(under_way: &UnderWay) -> MutexGuard<'_, Questions> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

/// IPv6 and IPv4 by turns, beginning with what the system puts first: one of them may not work at all here.
fn interleaved(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let addresses: Vec<SocketAddr> = addresses.collect();
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut these, mut those): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|a| a.is_ipv6() == first);
    let mut all = Vec::with_capacity(these.len() + those.len());
    let (mut these, mut those) = (these.drain(..), those.drain(..));
    loop {
        match (these.next(), those.next()) {
            (None, None) => return all,
            (one, other) => all.extend(one.into_iter().chain(other)),
        }
    }
}

type Attempt = Pin<Box<dyn Future<Output = Result<TcpStream>> + Send>>;

/// The first connection that comes about. Addresses are tried one after the other, but none has to have failed
/// for the next to begin: one that is silent costs [`HEAD_START`].
///
/// # Errors
/// That of the address which failed first.
pub(crate) async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream> {
    let mut left = addresses.into_iter();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut failure = None;
    loop {
        match left.next() {
            Some(address) => attempts.push(Box::pin(TcpStream::connect(address))),
            None if attempts.is_empty() => {
                let none = || Error::new(ErrorKind::NotFound, "its name has no address");
                return Err(failure.unwrap_or_else(none));
            }
            None => {}
        }
        tokio::select! {
            result = any(&mut attempts) => match result {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = failure.or(Some(error)),
            },
            () = sleep(HEAD_START), if left.len() > 0 => {}
        }
    }
}

/// The first attempt that comes to an end, which is no longer among them then.
async fn any(attempts: &mut Vec<Attempt>) -> Result<TcpStream> {
    poll_fn(|cx| {
        for at in 0..attempts.len() {
            if let Poll::Ready(result) = attempts[at].as_mut().poll(cx) {
                drop(attempts.remove(at));
                return Poll::Ready(result);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::{block_on, plugin};
    use std::sync::mpsc;
    use std::time::Instant;
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_by_turns() {
        let given = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]);
        let wanted = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]);
        assert_eq!(interleaved(given.into_iter()), wanted);
        assert!(interleaved([].into_iter()).is_empty());
    }

    #[test]
    fn a_silent_address_holds_nobody_up() {
        block_on(async {
            // Its queue is full once two wait in it: what the kernel drops then gets no answer.
            let silent = TcpSocket::new_v4().unwrap();
            silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let silent = silent.listen(1).unwrap();
            let unanswered = silent.local_addr().unwrap();
            let mut waiting = Vec::new();
            while let Ok(connected) = timeout(2 * HEAD_START, TcpStream::connect(unanswered)).await
            {
                waiting.push(connected.unwrap());
                assert!(waiting.len() < 100, "the queue is never full");
            }
            let lively = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let answered = lively.local_addr().unwrap();
            let begun = Instant::now();
            let stream = connect(vec![unanswered, answered]).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), answered);
            assert!(begun.elapsed() >= HEAD_START);
            assert!(begun.elapsed() < 8 * HEAD_START);
        });
    }

    #[test]
    fn one_that_refuses_is_passed_over_at_once() {
        block_on(async {
            let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let refusing = gone.local_addr().unwrap();
            drop(gone);
            let lively = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let answered = lively.local_addr().unwrap();
            let stream = connect(vec![refusing, answered]).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), answered);
            let error = connect(vec![refusing]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert!(connect(Vec::new()).await.is_err());
        });
    }

    #[test]
    fn a_name_is_looked_up_once_at_a_time() {
        let (broker, context) = plugin();
        let resolver = Resolver::new(&context);
        let (asked, questions) = mpsc::channel();
        let answers = Arc::new(Semaphore::new(0));
        let look = || {
            let (asked, answers) = (asked.clone(), Arc::clone(&answers));
            move |host: String| async move {
                asked.send(host).unwrap();
                answers.acquire().await.unwrap().forget();
                Ok(addresses(&["127.0.0.1:0"]))
            }
        };
        // A name service that hangs: who gives up and asks again asks nothing new.
        for _ in 0..3 {
            drop(resolver.ask("a", look()).unwrap());
        }
        assert_eq!(questions.recv().unwrap(), "a");
        for host in ["b", "c", "d"] {
            drop(resolver.ask(host, look()).unwrap());
            assert_eq!(questions.recv().unwrap(), host);
        }
        assert!(resolver.ask("e", look()).is_err());
        assert!(questions.try_recv().is_err());
        let mut waiting: Vec<_> = ["a", "b", "c", "d"]
            .iter()
            .map(|host| resolver.ask(host, look()).unwrap())
            .collect();
        answers.add_permits(4);
        block_on(async {
            for answer in &mut waiting {
                answer.wait_for(Option::is_some).await.unwrap();
            }
        });
        // What has been answered is asked anew.
        drop(resolver.ask("a", look()).unwrap());
        assert_eq!(questions.recv().unwrap(), "a");
        broker.stop();
    }

    #[test]
    fn names_and_addresses() {
        let (broker, context) = plugin();
        let resolver = Resolver::new(&context);
        block_on(async {
            let found = resolver.resolve("localhost", 1883).await.unwrap();
            assert!(!found.is_empty());
            assert!(
                found
                    .iter()
                    .all(|a| a.ip().is_loopback() && a.port() == 1883)
            );
            let found = resolver.resolve("::1", 80).await.unwrap();
            assert_eq!(found, addresses(&["[::1]:80"]));
        });
        broker.stop();
    }
}
