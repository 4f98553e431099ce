package android.widget;

public class TextView extends android.view.View {
    public TextView(android.content.Context context) {
        super(context);
    }

    public CharSequence getText() {
        return "";
    }

    public final void setText(CharSequence text) {}

    public CharSequence getHint() {
        return "";
    }

    public final void setHint(CharSequence hint) {}

    public float getTextSize() {
        return 0;
    }

    public void setTextSize(float size) {}

    public void addTextChangedListener(android.text.TextWatcher watcher) {}
}
