/**
 * The text on which `weft quantize` measures when it is given none.
 * @module
 */

/** English prose of several kinds, numbers, a dialogue and some code: a thousand words, more tokens. */
export const CALIBRATION_TEXT = `
The harbour wakes before the town does. By half past four the first lights move along the quay, and the
men who mend the nets have already put their kettles on. A gull walks up and down the roof of the ice
house as if it owned the place. When the boats come in, one after the other, somebody counts the crates
aloud: eleven of mackerel, four of crab, two of something nobody wanted to catch. The auction takes less
than twenty minutes. After it the street is wet and empty again, and only the smell of diesel and salt
remains to tell visitors, who get up at nine, that a day's work has been done.

Bread needs four things: flour, water, salt and time. Mix 500 g of flour with 350 g of water and let it
rest for half an hour; then add 10 g of salt and 3 g of yeast, and knead until the dough is smooth. It
should feel soft, a little sticky, and spring back slowly when you press it with a finger. Leave it in a
covered bowl until it has doubled, which takes about two hours at 21 degrees and four at 16. Shape it,
wait another hour, and bake it for 40 minutes, the first ten of them with steam, at 240 degrees.

"Did you lock the door?" she asked.
"I thought you had the key."
"I gave it to you on Tuesday, when we came back from the station."
"Then it must be in my other coat. Let me look. No, that is the one for the cellar."
"We could ask Mrs. Okafor. She has kept a spare since the winter."
"At this hour? She goes to bed at eight."
They stood on the step and listened to the rain. In the end it was the cat that let them in: it had
learned, years ago, to jump on the handle from inside.

A river does not carve its valley evenly. In its upper course it cuts downwards, since the slope is steep
and the water carries stones; further down it swings from side to side, wears away the outer bank of each
bend, and lays down sand and gravel on the inner one. Over centuries a bend grows into a loop, the neck of
the loop becomes narrow, and one flood is enough to break through it. What is left behind is a lake in the
shape of a sickle. Maps that are a hundred years old often show a village on the wrong side of the water:
it was not the village that moved.

To find the largest common divisor of two numbers, divide the larger by the smaller and keep the
remainder; then divide the smaller by the remainder, and go on until nothing remains. For 1071 and 462 the
remainders are 147, 21 and 0, so the answer is 21. The method is more than two thousand years old, and
still the quickest that can be done by hand. Written as a program it is four lines:

function gcd(a, b) {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

The committee met on 14 March 2019 in room B-203. Present were Dr. Lindqvist (chair), Ms. Tanaka, Mr.
Adeyemi and, by telephone, Professor Ruiz. The minutes of the last meeting were approved without changes.
Ms. Tanaka reported that the survey had been returned by 1,284 households, or 61.4 % of those asked, which
is 3.2 points more than five years ago. Of these, 812 were in favour of the new bus line, 307 against, and
165 had no opinion. Mr. Adeyemi asked whether people without a car had been counted apart; they had not.
It was decided to repeat the question in autumn. The meeting closed at 17:40.

Nobody knows who planted the pear tree. It stood in the middle of the field when the grandparents of the
oldest people were children, and it was old then. Lightning has struck it at least twice. One half is dead
and grey, the other bears small hard fruit that no one eats but the wasps, and each spring, for nine or ten
days, the whole of it is white. The farmer ploughs around it. He has been told that he loses a quarter of a
tonne of wheat every year that way, and he has answered that he is well aware of it.

Light that falls on a pane of glass is partly reflected, about four hundredths of it at each surface. Put
two panes one behind the other, very close together, and the two reflections meet again: where their waves
are in step they add up, where they are not they cancel. Because the distance at which this happens depends
on the colour, a thin layer of oil on a puddle shines in bands of red, green and violet. The same effect,
used with care, keeps the lenses of a camera from reflecting, and tells an astronomer how wide a star is
that no telescope can show as more than a point.

Dear Sir or Madam, I am writing about the parcel with the number 7749-0032-K, which was to arrive on the
second of this month. According to your web page it has been "out for delivery" for nine days now. I have
telephoned three times. The first time I was told that the driver had not found the house, the second time
that there was no such parcel, and the third time I was asked to wait and then heard music for thirty-five
minutes. The house has stood at the same place since 1908. I should be grateful if you would look into the
matter, and remain yours faithfully, H. Whitcombe.

When two people speak different languages and have to trade, they soon agree on a few hundred words and
hardly any grammar. Children who grow up hearing nothing else turn this makeshift into a language of its
own, with tenses and clauses and jokes, within a single generation. Those who study it argue about how much
of that is learned and how much the children bring with them. What is certain is that no one teaches it to
them: the parents, who made the words, cannot follow the sentences.

Rules of the game: each player gets seven cards, the rest lie face down in the middle. Whoever sits to the
left of the dealer begins. In your turn, draw one card, then put down as many sets as you like; a set has at
least three cards of one value, or of one suit in sequence. Jokers stand for any card. You end your turn by
laying one card on the open pile. The round is over when somebody has no cards left. All others count what
they hold: ten for a king, queen or jack, fifteen for an ace, the number on it for every other card. After
five rounds the lowest sum wins.

It snowed for three days, and on the fourth the sky was so blue that it hurt. The plough had come as far as
the bridge and turned back. We dug a path to the woodshed and another to the road, as deep as our hips, and
found the letter box by walking into it. There was no electricity, so we read by the window until five and by
the stove after that. I remember those evenings better than the year around them: the hiss of the kettle,
a chair creaking, somebody turning a page, and outside nothing at all.
`.trim();
