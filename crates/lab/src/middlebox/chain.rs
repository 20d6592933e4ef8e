//! Several boxes in a row: the first stands next to the client, the last next to the server.
//! It must not know what its boxes do.

use crate::middlebox::{Action, Middlebox};

/// Boxes in a row, which look like one.
pub struct Chain {
    boxes: Vec<Box<dyn Middlebox>>,
}

impl Chain {
    /// A row of boxes, client's side first. An empty row is a wire.
    pub fn new(boxes: Vec<Box<dyn Middlebox>>) -> Self {
        Self { boxes }
    }

    /// Carries what box `at` wants outwards, through its neighbours on either side.
    fn spread(&mut self, at: usize, actions: Vec<Action>, out: &mut Vec<Action>) {
        for action in actions {
            match action {
                Action::ToServer(bytes) => self.towards_server(at + 1, &bytes, out),
                Action::ToClient(bytes) => self.towards_client(at, &bytes, out),
                other => out.push(other),
            }
        }
    }

    fn towards_server(&mut self, at: usize, bytes: &[u8], out: &mut Vec<Action>) {
        match self.boxes.get_mut(at) {
            Some(next) => {
                let mut actions = Vec::new();
                next.client_sent(bytes, &mut actions);
                self.spread(at, actions, out);
            }
            None => out.push(Action::ToServer(bytes.to_vec())),
        }
    }

    /// `above` boxes stand between here and the client.
    fn towards_client(&mut self, above: usize, bytes: &[u8], out: &mut Vec<Action>) {
        match above.checked_sub(1).and_then(|at| self.boxes.get_mut(at)) {
            Some(next) => {
                let mut actions = Vec::new();
                next.server_sent(bytes, &mut actions);
                self.spread(above - 1, actions, out);
            }
            None => out.push(Action::ToClient(bytes.to_vec())),
        }
    }
}

impl Middlebox for Chain {
    fn opened(&mut self, out: &mut Vec<Action>) {
        for at in 0..self.boxes.len() {
            let mut actions = Vec::new();
            if let Some(one) = self.boxes.get_mut(at) {
                one.opened(&mut actions);
            }
            self.spread(at, actions, out);
        }
    }

    fn client_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        self.towards_server(0, segment, out);
    }

    fn server_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
        self.towards_client(self.boxes.len(), segment, out);
    }

    fn client_closed(&mut self, out: &mut Vec<Action>) -> bool {
        let mut pass = true;
        for at in 0..self.boxes.len() {
            let mut actions = Vec::new();
            if let Some(one) = self.boxes.get_mut(at) {
                pass &= one.client_closed(&mut actions);
            }
            self.spread(at, actions, out);
        }
        pass
    }

    fn server_closed(&mut self, out: &mut Vec<Action>) -> bool {
        let mut pass = true;
        for at in (0..self.boxes.len()).rev() {
            let mut actions = Vec::new();
            if let Some(one) = self.boxes.get_mut(at) {
                pass &= one.server_closed(&mut actions);
            }
            self.spread(at, actions, out);
        }
        pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::{Wire, play};

    struct Mark(&'static str);

    impl Middlebox for Mark {
        fn client_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
            out.push(Action::ToServer([segment, self.0.as_bytes()].concat()));
        }

        fn server_sent(&mut self, segment: &[u8], out: &mut Vec<Action>) {
            out.push(Action::ToClient([segment, self.0.as_bytes()].concat()));
        }
    }

    #[test]
    fn the_first_box_is_next_to_the_client() {
        let mut chain = Chain::new(vec![
            Box::new(Mark("1")),
            Box::new(Wire),
            Box::new(Mark("2")),
        ]);
        assert_eq!(play::client(&mut chain, "c"), "S:c12");
        assert_eq!(play::server(&mut chain, "s"), "C:s21");
        assert_eq!(play::client(&mut Chain::new(Vec::new()), "x"), "S:x");
    }
}
