/**
 * Date formatting for chat templates.
 * @module
 */
import { TextError } from "./text_error.ts";

const MONTHS =
  "January February March April May June July August September October November December"
    .split(" ");
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/**
 * Formats `date` in local time with C's `strftime` directives and English names. (The template
 * library's own version follows the machine's language, which would change the prompt.)
 *
 * @throws {TextError} when a directive is not supported.
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(.)/gs, (directive, letter: string) => {
    const hour = date.getHours();
    switch (letter) {
      case "Y":
        return String(date.getFullYear());
      case "y":
        return pad(date.getFullYear() % 100);
      case "m":
        return pad(date.getMonth() + 1);
      case "d":
        return pad(date.getDate());
      case "b":
        return MONTHS[date.getMonth()].slice(0, 3);
      case "B":
        return MONTHS[date.getMonth()];
      case "a":
        return DAYS[date.getDay()].slice(0, 3);
      case "A":
        return DAYS[date.getDay()];
      case "H":
        return pad(hour);
      case "I":
        return pad(hour % 12 || 12);
      case "p":
        return hour < 12 ? "AM" : "PM";
      case "M":
        return pad(date.getMinutes());
      case "S":
        return pad(date.getSeconds());
      case "%":
        return "%";
      default:
        throw new TextError(
          `Cannot format the date as the directive is not supported: ${directive}`,
          "template",
        );
    }
  });
}

function pad(value: number): string {
  return String(value).padStart(2, "0");
}
