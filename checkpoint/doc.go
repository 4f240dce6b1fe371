// Package checkpoint owns the schema awa_counterd, and is the only place that knows what is in it: who leads, the books at a
// persisted position, the uncounted writes (docs/design.md §6), and what setup granted. An operator can watch all of it with psql.
//
// Invariants:
//   - A checkpoint is one transaction: the position never moves without the groups that changed up
//     to it.
//   - It is fenced twice: on the instance that leads and on the position it was made from. Of two
//     processes that both believe to lead, one writes nothing.
//   - Every other statement of awa-counterd that changes anything (corrections, marker) carries Guard, which
//     locks the row of the lead FOR KEY SHARE. Taking over locks that row FOR UPDATE, so it waits for
//     what the old leader has under way, and whatever comes later finds another instance.
//   - What is looked at all the time is found in the same time whatever old snapshot keeps its former versions: the row of the lead is
//     written only when something changes, and each heartbeat has a number of its own.
//   - What an awa-counterd finish asks of daemons holds only while its connection does; a second one takes nothing of it back.
//   - The leader lock does not say whose it is: the session of an instance that leads also has a lock of the instance, and only
//     that one is ended on the word of the leader's row. Who works with a replication slot has a lock of its name.
//   - The history of the marker is worth nothing beside the marker: whoever writes it does without when it cannot be written.
//   - Nothing here is published, so nothing here comes back in the stream.
package checkpoint
