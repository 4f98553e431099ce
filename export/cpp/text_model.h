// Runs a .tflite file that takes text: text in, answer out.
//
//   TextModel model("model.tflite");
//   Answer answer = model.Run("a fine film");
//   printf("%s %.2f\n", answer.labels[0].name.c_str(), answer.labels[0].score);
//
// The file does the work, tokenizing included. What is done here: the text's bytes go in, and the
// numbers that come out become names, and places in the text.

#ifndef TEXT_MODEL_H_
#define TEXT_MODEL_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

enum class Task {
  kClassification,
  kRegression,
  kEmbedding,
  kEntities,
  kQuestionAnswering,
  kMultipleChoice,
  kFillMask,
};

struct Scored {
  std::string name;
  float score;
};

// Bytes [start, end) of a text.
struct Span {
  size_t start;
  size_t end;
  std::string label;           // of an entity
  float score;                 // of an entity, or of an answer
  std::vector<Scored> tokens;  // for a [MASK], best first
};

// What a file answers. By task, there are:
struct Answer {
  std::vector<Scored> labels;   // classification: all labels, best first; where they do not exclude
                                // each other, those with a score over 0.5 hold
  std::vector<Scored> choices;  // multiple choice: all choices, as they were given
  size_t best_choice = 0;
  std::vector<float> values;  // regression: the values; embedding: the vector
  std::vector<Span> spans;    // entities; fill mask: each [MASK]; question answering: the answer
                              // in the second text, no bytes of it where that holds none
  float no_answer_score = 0;  // question answering: the probability that there is none
  bool truncated = false;     // whether a text was cut to fit
};

// One text at a time: a model is not for several threads at once.
class TextModel {
 public:
  // Throws std::runtime_error, in one line, if the file cannot be loaded, or does not take text.
  explicit TextModel(const std::string& path);
  ~TextModel();

  // Texts are UTF-8. `pairs` are the second text, or all choices; see `num_pairs`. Throws
  // std::invalid_argument if they are not as many, and std::runtime_error if the runtime fails.
  Answer Run(const std::string& text, const std::vector<std::string>& pairs = {});

  Task task() const;
  size_t num_pairs() const;

 private:
  class Runtime;

  std::unique_ptr<Runtime> runtime_;
  std::vector<std::string> labels_;
  std::vector<std::string> vocabulary_;
};

#endif  // TEXT_MODEL_H_
