// Command bench measures what the product costs and how fast it is, on a real server, part by part:
//
//	go run ./e2e/bench -part drain,size -rounds 5
//
// It fails where what it measured was not right: a counter, or a peer that did not do its work. Whether a figure comes to what it should
// (aims.go), the report says; the program ends with 0 all the same.
//
// Invariants:
//   - Every figure has a peer, measured in the same round on the same server; where the order may matter, it
//     turns from round to round. What is compared is the ratio within a round; rates and times are for the eye.
//   - A round is kept as JSON (-results) as soon as it is over. A run that was broken off goes on with the next
//     one. Rounds of another binary, server, machine or size are not mixed in: they are begun again.
//   - The reports are made from what is kept, and from nothing else: median, and lowest to highest.
//   - A run that was made smaller (-scale) shows that a part works. No file of docs is written from it.
//
// The pictures are SVG drawn here (plot.go): two kinds of them are needed, which is less than what a library for
// plots would bring into go.mod.
//
// awa's names are spelled here as e2e/fleet spells them.
package main
