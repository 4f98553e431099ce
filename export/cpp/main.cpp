// Answers texts: ./answer model.tflite < texts.txt
//
// Each line is a text, with tabs before second texts; each answer is a line of JSON. Places in
// texts are in bytes.

#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "text_model.h"

namespace {

std::string Quote(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) {
      quoted += c;
    } else {
      char code[8];
      std::snprintf(code, sizeof(code), "\\u%04x", c);
      quoted += code;
    }
  }
  return quoted + "\"";
}

std::string Number(float value) {
  char digits[32];
  std::snprintf(digits, sizeof(digits), "%.9g", value);  // all that a float has
  return digits;
}

// "[" and what `write` makes of each item, and "]".
template <typename T, typename F>
std::string List(const std::vector<T>& items, F write) {
  std::string list = "[";
  for (const T& item : items) list += (list.size() > 1 ? ", " : "") + write(item);
  return list + "]";
}

std::string Scores(const std::string& key, const std::vector<Scored>& items) {
  return List(items, [&key](const Scored& item) {
    return "{\"" + key + "\": " + Quote(item.name) + ", \"score\": " + Number(item.score) + "}";
  });
}

std::string Place(const std::string& text, const Span& span) {
  return "\"text\": " + Quote(text.substr(span.start, span.end - span.start)) +
         ", \"start\": " + std::to_string(span.start) + ", \"end\": " + std::to_string(span.end);
}

std::string Json(Task task, const std::vector<std::string>& texts, const Answer& answer) {
  const std::string truncated =
      std::string(", \"truncated\": ") + (answer.truncated ? "true}" : "false}");
  switch (task) {
    case Task::kClassification:
      return "{\"labels\": " + Scores("label", answer.labels) + truncated;
    case Task::kMultipleChoice:
      return "{\"choices\": " + Scores("choice", answer.choices) + truncated;
    case Task::kRegression:
      return "{\"values\": " + List(answer.values, Number) + truncated;
    case Task::kEmbedding:
      return "{\"embedding\": " + List(answer.values, Number) + truncated;
    case Task::kEntities:
      return "{\"entities\": " + List(answer.spans, [&texts](const Span& span) {
               return "{" + Place(texts[0], span) + ", \"label\": " + Quote(span.label) +
                      ", \"score\": " + Number(span.score) + "}";
             }) + truncated;
    case Task::kQuestionAnswering:
      return "{\"answers\": " + List(answer.spans, [&texts](const Span& span) {
               return "{" + Place(texts[1], span) + ", \"score\": " + Number(span.score) + "}";
             }) + ", \"no_answer_score\": " + Number(answer.no_answer_score) + truncated;
    case Task::kFillMask:
      return "{\"masks\": " + List(answer.spans, [&texts](const Span& span) {
               return "{" + Place(texts[0], span) + ", \"tokens\": " +
                      Scores("token", span.tokens) + "}";
             }) + truncated;
  }
  return "";
}

std::vector<std::string> Split(const std::string& line) {
  std::vector<std::string> texts;
  size_t start = 0;
  for (size_t tab; (tab = line.find('\t', start)) != std::string::npos; start = tab + 1) {
    texts.push_back(line.substr(start, tab - start));
  }
  texts.push_back(line.substr(start));
  return texts;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "Usage: " << argv[0] << " model.tflite < texts.txt\n";
    return 2;
  }
  try {
    TextModel model(argv[1]);
    for (std::string line; std::getline(std::cin, line);) {
      const std::vector<std::string> texts = Split(line);
      const Answer answer = model.Run(texts[0], {texts.begin() + 1, texts.end()});
      std::cout << Json(model.task(), texts, answer) << std::endl;
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
  return 0;
}
