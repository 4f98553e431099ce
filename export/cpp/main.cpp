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

std::string Score(const std::string& key, const Scored& item) {
  return "\"" + key + "\": " + Quote(item.name) + ", \"score\": " + Number(item.score);
}

std::string Scores(const std::string& key, const std::vector<Scored>& items) {
  return List(items, [&key](const Scored& item) { return "{" + Score(key, item) + "}"; });
}

std::string Part(const std::string& key, const std::string& text, const Span& span) {
  return "\"" + key + "\": " + Quote(text.substr(span.start, span.end - span.start)) +
         ", \"start\": " + std::to_string(span.start) + ", \"end\": " + std::to_string(span.end);
}

// The same as run_node.mjs of the web kit prints.
std::string Fields(Task task, const std::vector<std::string>& texts, const Answer& answer) {
  switch (task) {
    case Task::kClassification:
      return "\"task\": \"classification\", " + Score("label", answer.labels[0]) +
             ", \"labels\": " + Scores("label", answer.labels);
    case Task::kMultipleChoice:
      return "\"task\": \"multiple_choice\", \"index\": " + std::to_string(answer.best_choice) +
             ", " + Score("choice", answer.choices[answer.best_choice]) + ", \"scores\": " +
             List(answer.choices, [](const Scored& choice) { return Number(choice.score); });
    case Task::kRegression:
      return "\"task\": \"regression\", \"values\": " + List(answer.values, Number);
    case Task::kEmbedding:
      return "\"task\": \"embedding\", \"embedding\": " + List(answer.values, Number);
    case Task::kEntities:
      return "\"task\": \"entities\", \"entities\": " +
             List(answer.spans, [&texts](const Span& span) {
               return "{" + Part("text", texts[0], span) + ", \"label\": " + Quote(span.label) +
                      ", \"score\": " + Number(span.score) + "}";
             });
    case Task::kQuestionAnswering:
      return "\"task\": \"question_answering\", " + Part("answer", texts[1], answer.spans[0]) +
             ", \"score\": " + Number(answer.spans[0].score) +
             ", \"noAnswerScore\": " + Number(answer.no_answer_score);
    case Task::kFillMask:
      return "\"task\": \"fill_mask\", \"masks\": " +
             List(answer.spans, [&texts](const Span& span) {
               return "{" + Part("text", texts[0], span) +
                      ", \"tokens\": " + Scores("token", span.tokens) + "}";
             });
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
      std::cout << "{" << Fields(model.task(), texts, answer)
                << ", \"truncated\": " << (answer.truncated ? "true" : "false") << "}" << std::endl;
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
  return 0;
}
